"""`init(args=…)`: the words of a command line, read as pgregistry's own command line reads them."""

from __future__ import annotations

from typing import Any

import pytest
from ranks import run_ranks

import pgregistry
from pgregistry import ConfigError, PlanMismatch
from pgregistry.errors import Problems
from pgregistry.runtime.arguments import read_arguments


def test_words_are_keywords_as_on_the_command_line() -> None:
    words = "tensor=2 --order data,tensor zero1.timeout=60 --disable=a --plugin lab --cpu --disable b --timeout 30"
    problems = Problems()
    assert read_arguments(words.split(), problems) == {
        "tensor": "2",
        "zero1.timeout": "60",
        "order": "data,tensor",
        "disable": "a,b",
        "cpu": True,
        "timeout": 30,
        "plugins": "lab",
    }
    assert len(problems) == 0
    assert read_arguments(None, problems) == read_arguments([], problems) == {}


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("tensor=2", "args = 'tensor=2' (keyword) must be a list of words, such as sys.argv[1:]."),
        (8, "args = 8 (keyword) must be a list of words, such as sys.argv[1:]."),
        ([8], "args (keyword) must be a list of words, such as sys.argv[1:], but has 8."),
        (["8"], "'8' (command line) must have the form NAME=SIZE, as in tensor=2."),
        (["tensor=2", "tensor=4"], "'tensor' is given twice (command line): 2 and 4. Remove one."),
        (["--ordr", "a,b"], "'--ordr' (command line) is not an option of init(). Did you mean '--order'?"),
        (
            ["--tensor", "2"],
            "'--tensor' (command line) is not an option of init(). A size is a word of its own: tensor=2",
        ),
        (["--tensor=2"], "'--tensor' (command line) is not an option of init(). A size is a word of its own: tensor=2"),
        (["--cpu=yes"], "'--cpu=yes' (command line) must be --cpu alone, which takes no value."),
        (["--timeout"], "--timeout (command line) must have a value: --timeout S."),
        (["timeout=60"], "'timeout' (command line) cannot be a size"),
    ],
)
def test_a_word_that_is_none_is_refused_by_name(words: Any, text: str) -> None:
    problems = Problems()
    read_arguments(words, problems)
    with pytest.raises(ConfigError) as raised:
        problems.raise_any()
    assert str(raised.value).startswith(text)


def with_words() -> Any:
    words = ["tensor=4", "pipe=2", "--disable", "nettest,zero1", "--timeout", "77"]
    with pgregistry.init(args=words, pipe=1) as context:
        plan, timeout = context.plan, context.defaults.timeout
    with pytest.raises(ConfigError) as raised:
        pgregistry.init(args=["tensor=3", "--lr", "0.1", "--pipes"])
    return plan.sizes["tensor"], plan.origins["tensor"], plan.origins["pipe"], plan.modes, timeout, str(raised.value)


def test_words_come_after_keywords_and_name_the_command_line_as_their_origin() -> None:
    modes = ("data", "dummy", "global", "pipe", "tensor", "model")
    for *found, text in run_ranks(4, with_words, world=False):
        assert found == [4, "command line", "keyword", modes, 77]
        assert text.startswith("3 problems:\n- '--lr' (command line) is not an option of init(). ")
        assert text.count("Leave the options of your script out of args=.") == 2


def wrong_on_one_rank() -> str:
    import torch.distributed as dist

    with pytest.raises((ConfigError, PlanMismatch)) as raised:
        pgregistry.init(args=["--tensor", "2"] if dist.get_rank() else ["tensor=2"])
    return f"{type(raised.value).__name__}: {raised.value}"


def test_a_word_that_is_wrong_on_one_rank_is_quoted_by_the_others() -> None:
    zero, one = run_ranks(2, wrong_on_one_rank)
    assert (
        one
        == "ConfigError: '--tensor' (command line) is not an option of init(). A size is a word of its own: tensor=2"
    )
    assert zero.startswith("PlanMismatch: ")
    assert one in zero
