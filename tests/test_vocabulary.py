"""Declarations that cannot be are refused when they are made."""

from __future__ import annotations

from typing import Any

import pytest

from pgregistry import FULL, REST, Axis, Mode, PluginError, Setting, Split

EXAMPLE = "{'pipe': -1}"
DECLARATIONS = [
    (lambda: Axis("a", inside=5), "Axis('a') has inside=5; it must be a name or a list of names."),
    (lambda: Axis("a", outside=[5]), "Axis('a') has outside=[5]; it must be a name or a list of names."),
    (lambda: Mode("m", over=(), after=5), "Mode('m') has after=5; it must be a name or a list of names."),
    (
        lambda: Axis("class"),
        (
            "Axis('class'): 'class' cannot name a size; it must be an identifier and not a keyword of Python, "
            "because users write it as an argument (tensor=2)."
        ),
    ),
    (
        lambda: Split("ring", inner="None"),
        (
            "Split('ring'): 'None' cannot name a size; it must be an identifier and not a keyword of Python, "
            "because users write it as an argument (tensor=2)."
        ),
    ),
    *(
        (
            lambda where=where: Mode("m", over=(), where=where),
            f"Mode('m') has where={where!r}; it must map the names of axes or parts to positions, as in {EXAMPLE}.",
        )
        for where in ("pipe", ["pipe"], {"pipe": "last"}, {"pipe": True}, {1: 0}, {"pipe": 1.5}, {"pipe": None}, 3)
    ),
    *(
        (
            lambda options=options: Mode("m", over=(), options=options),
            f"Mode('m') has options={options!r}; it must map names to numbers, texts, True, False or None.",
        )
        for options in ("fast", ["fast"], {1: 2}, {"fast": [1]}, {"fast": {}}, {"speed": float("inf")}, 3)
    ),
    (
        lambda: Mode("m", groups=lambda mesh: [], where={"pipe": 0}),
        "Mode('m') must not have both where= and groups=; the function itself can return only those ranks.",
    ),
    (
        lambda: Mode("m", over=(), timeout=366 * 24 * 3600 + 1),
        "Mode('m') has timeout=31622401; it must be a number of seconds from 0.001 to 31622400.",
    ),
    (
        lambda: Mode("m", over=(), timeout=1e300),
        "Mode('m') has timeout=1e+300; it must be a number of seconds from 0.001 to 31622400.",
    ),
    (
        lambda: Mode("m", over=(), timeout=0.0001),
        "Mode('m') has timeout=0.0001; it must be a number of seconds from 0.001 to 31622400.",
    ),
    (
        lambda: Axis("two words"),
        (
            "Axis('two words'): 'two words' cannot name a size; it must be an identifier and not a keyword of Python, "
            "because users write it as an argument (tensor=2)."
        ),
    ),
    (lambda: Axis("ring", 0), "Axis('ring') has size=0; it must be a number from 1, REST or the name of a size."),
    (lambda: Axis("ring", True), "Axis('ring') has size=True; it must be a number from 1, REST or the name of a size."),
    (lambda: Axis("ring", FULL), "Axis('ring') has size=FULL; it must be a number from 1, REST or the name of a size."),
    (
        lambda: Split("ring", inner="near", size=REST),
        "Split('ring') has size=REST; it must be a number from 1, FULL, HOST, DOMAIN or the name of a size.",
    ),
    (
        lambda: Split("ring"),
        "Split('ring') must name its inner or its outer part, as in inner='zero1'.",
    ),
    (
        lambda: Split("ring", inner="near", outer="near"),
        "Split('ring') has inner='near' and outer='near'; its parts must have different names.",
    ),
    (lambda: Split((), inner="near"), "Split(()) must split something: an axis, a part or WORLD."),
    (lambda: Mode("m"), "Mode('m') needs exactly one of over= and groups=."),
    (
        lambda: Mode("m", over="ring", groups=list),
        "Mode('m') needs exactly one of over= and groups=.",
    ),
    (lambda: Mode("m", groups=[[0]]), "Mode('m') has groups=[[0]]; it must be a function of the mesh."),
    (
        lambda: Mode("m", groups=list, at=0),
        "Mode('m') must not have both at= and groups=; the function itself can return only those ranks.",
    ),
    (
        lambda: Mode("m", over="ring", sizes=Split("ring", inner="near")),
        "Mode('m') must not have both sizes= and over=; over= declares its own sizes.",
    ),
    (
        lambda: Mode("m", groups=list, sizes=7),
        "Mode('m'): 7 must be an axis, a part of a split or WORLD.",
    ),
    (lambda: Mode("m", over="ring", at=()), "Mode('m') has at=(); it must be positions in a group, such as (0, -1)."),
    (
        lambda: Mode("m", over="ring", at=True),
        "Mode('m') has at=True; it must be positions in a group, such as (0, -1).",
    ),
    (lambda: Mode("m", over=7), "Mode('m'): 7 must be an axis, a part of a split or WORLD."),
    (lambda: Mode("m", over=FULL), "Mode('m'): FULL must be an axis, a part of a split or WORLD."),
    (lambda: Mode("", over=()), "Mode('') must have a name that can be printed on one line, without spaces around it."),
    (
        lambda: Mode("a\nb", over=()),
        "Mode('a\\nb') must have a name that can be printed on one line, without spaces around it.",
    ),
    (lambda: Mode("m", over=(), dedicated=1), "Mode('m') has dedicated=1; it must be True or False."),
    (lambda: Mode("m", over=(), cpu="yes"), "Mode('m') has cpu='yes'; it must be True or False."),
    (
        lambda: Mode("m", over=(), timeout=0),
        "Mode('m') has timeout=0; it must be a number of seconds from 0.001 to 31622400.",
    ),
    (
        lambda: Mode("m", over=(), backend=""),
        "Mode('m') has backend=''; it must be the name of a torch backend, such as 'gloo'.",
    ),
]


@pytest.mark.parametrize(("declare", "text"), DECLARATIONS, ids=[text for _, text in DECLARATIONS])
def test_a_declaration_that_cannot_be_is_refused_where_it_is_written(declare: Any, text: str) -> None:
    with pytest.raises(PluginError) as caught:
        declare()
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("declare", "text"),
    [
        (lambda: Setting("a b", 1), "Setting('a b'): 'a b' cannot name a setting; it must be an identifier and not a "),
        (lambda: Setting(5, 1), "Setting(5): 5 cannot name a setting; it must be an identifier"),  # type: ignore[arg-type]
        (lambda: Setting("s", None), "Setting('s') has default=None; it must be a printable text of at most 1000 "),  # type: ignore[arg-type]
        (lambda: Setting("s", [1]), "Setting('s') has default=[1]; it must be a printable text"),  # type: ignore[arg-type]
        (lambda: Setting("s", float("nan")), "Setting('s') has default=nan; it must be a printable text"),
        (lambda: Setting("s", 10**5000), f"Setting('s') has default={'a number of thousands of digits'}; it must be"),
        (lambda: Setting("s", "a\n"), "Setting('s') has default='a\\n'; it must be a printable text"),
        (lambda: Setting("s", 1, choices=()), "Setting('s') has choices=(); it must be a list of values of type int."),
        (lambda: Setting("s", "a", choices="abc"), "Setting('s') has choices='abc'; it must be a list"),  # type: ignore[arg-type]
        (lambda: Setting("s", 1, choices=(1, "2")), "Setting('s') has choices=(1, '2'); it must be a list of values"),
        (lambda: Setting("s", 1, choices=(1, True)), "Setting('s') has choices=(1, True); it must be a list of values"),
        (lambda: Setting("s", 3, choices=(1, 2)), "Setting('s') has default=3; it must be one of its choices (1, 2)."),
        (lambda: Setting("s", 3, help=4), "Setting('s') has help=4; it must be text."),  # type: ignore[arg-type]
    ],
)
def test_a_setting_that_cannot_be_is_refused_where_it_is_written(declare: Any, text: str) -> None:
    with pytest.raises(PluginError) as caught:
        declare()
    assert str(caught.value).startswith(text)


def test_choices_have_the_type_of_the_default() -> None:
    assert Setting("rate", 0.5, choices=[1, 0.5]).choices == (1.0, 0.5)
    assert Setting("on", False, choices=(True, False)).choices == (True, False)
    assert hash(Setting("rate", 0.5, choices=[1, 0.5])) == hash(Setting("rate", 0.5, choices=(1.0, 0.5)))


HUGE = "a number of thousands of digits"


@pytest.mark.parametrize(
    ("declare", "text"),
    [
        (lambda: Mode("m", over=(), at=1.5), "Mode('m') has at=1.5; it must be positions in a group, such as (0, -1)."),
        (
            lambda: Mode("m", over=(), at=10**5000),
            f"Mode('m') has at={HUGE}; it must be positions in a group, such as (0, -1).",
        ),
        (
            lambda: Mode("m", over=(), timeout=10**5000),
            f"Mode('m') has timeout={HUGE}; it must be a number of seconds from 0.001 to 31622400.",
        ),
        (
            lambda: Axis("ring", 10**5000),
            f"Axis('ring') has size={HUGE}; it must be a number from 1, REST or the name of a size.",
        ),
        (lambda: Axis(10**5000), f"Axis({HUGE}): {HUGE} cannot name a size; "),
        (lambda: Mode(10**5000, over=()), f"Mode({HUGE}) must have a name "),
        (lambda: Mode("m", over=10**5000), f"Mode('m'): {HUGE} must be an axis, a part of a split or WORLD."),
        (lambda: Split(10**5000, inner="near"), f"Split({HUGE}): {HUGE} must be an axis, "),
        (lambda: Mode("m", over=(), after=[10**5000]), f"Mode('m') has after={HUGE}; it must be a name or a list"),
    ],
    ids=["at 1.5", "at", "timeout", "size", "axis name", "mode name", "over", "of", "after"],
)
def test_a_declaration_with_a_value_that_cannot_be_printed_is_refused_too(declare: Any, text: str) -> None:
    with pytest.raises(PluginError) as caught:
        declare()
    assert str(caught.value).startswith(text)
