"""What people type in place of `plan 8 tensor=2`, and what they are told to type."""

from __future__ import annotations

import pytest

import pgregistry
from pgregistry import Axis, ConfigError, Mode
from pgregistry.cli import run


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("plan 8 --tensor 2", "No such option '--tensor'. A size is a word of its own: tensor=2\n"),
        ("plan 8 --tensor=2", "No such option '--tensor'. A size is a word of its own: tensor=2\n"),
        ("plan --tensor-parallel 2 8", "A size is a word of its own: tensor_parallel=2\n"),
        ("plan --world-size 8", "No such option '--world-size'. The world size is the first word: 8\n"),
        ("smoke --nproc 4 --tensor 2", "No such option '--tensor'. A size is a word of its own: tensor=2\n"),
        ("plan 8 tensor 2", "'tensor' must have the form NAME=SIZE. Type: 8 tensor=2\n"),
        ("plan 8 tensor 2 pipe=2", "'tensor' must have the form NAME=SIZE. Type: 8 tensor=2 pipe=2\n"),
        ("plan 8 tensor = 2", "'tensor' must have the form NAME=SIZE. Type: 8 tensor=2\n"),
        ("plan 8 tensor= 2", "'tensor=' must have the form NAME=SIZE. Type: 8 tensor=2\n"),
        ("plan tensor=2 8", "'8' must be a world size or have the form NAME=SIZE. Type: 8 tensor=2\n"),
        ("plan 8 16", "'16' must have the form NAME=SIZE. Type a size as in tensor=2.\n"),
        ("plan world_size=8", "world_size is not a size. The world size is the first word: 8\n"),
        ("plan 8 --tensr", "No such option '--tensr'."),
        ("plan 8 --disabel nettest", "Did you mean '--disable'?"),
    ],
)
def test_a_size_that_is_typed_in_another_way_is_answered_with_what_to_type(
    line: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(line.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err


PARALLEL = [Mode(name, over=Axis(name)) for name in ("context", "expert", "sequence")]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        *(("dp", "data"), ("tp", "tensor"), ("pp", "pipe"), ("ep", "expert"), ("cp", "context"), ("sp", "sequence")),
        *(("tp_size", "tensor"), ("tensor_parallel", "tensor"), ("data_parallel_size", "data")),
        ("pipeline_model_parallel_size", "pipe"),
    ],
)
def test_a_size_by_its_name_elsewhere_is_answered_with_its_name_here(name: str, meant: str) -> None:
    only = ["data", "pipe", "tensor"]
    with pytest.raises(ConfigError) as caught:
        pgregistry.plan(8, only=only, extra=PARALLEL, **{name: 2})
    assert str(caught.value) == f"There is no size {name!r} (keyword). Did you mean {meant!r}?"
