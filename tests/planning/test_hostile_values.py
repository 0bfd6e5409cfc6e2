"""Values whose text, comparison, truth or iteration raises or never ends: a ConfigError or PluginError, and bounded."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count, repeat
from typing import Any

import pytest

import pgregistry
from pgregistry import WORLD, Axis, ConfigError, Mode, PluginError, Split
from pgregistry.errors import LONGEST_TEXT, Problems
from pgregistry.settings.merge import read_settings


class Evil:
    """A value in which everything raises."""

    def _raise(self, *_: object, **__: object) -> Any:
        raise ZeroDivisionError("evil")

    __repr__ = __str__ = __eq__ = __bool__ = __iter__ = __len__ = __index__ = __int__ = __float__ = _raise
    __lt__ = __le__ = __gt__ = __ge__ = __contains__ = __getitem__ = __fspath__ = __format__ = _raise
    __hash__ = None  # type: ignore[assignment]


class EvilHash(Evil):
    """The same, and it says that it has a hash."""

    def __hash__(self) -> int:
        raise ZeroDivisionError("evil")


def raising(kind: type, value: Any) -> Any:
    """Return a value of a subclass of a built-in type in which everything raises that a subclass can change."""
    unchanged = {"__new__", "__init__", "__class__", "__getattribute__", "__subclasshook__", "__init_subclass__"}
    names = {name for name in dir(kind) if callable(getattr(kind, name))} - unchanged
    return type("Evil", (kind,), dict.fromkeys(names, Evil._raise))(value)


def deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


def cyclic() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


VALUES: dict[str, Callable[[], Any]] = {
    "all raises": Evil,
    "hash raises": EvilHash,
    "a text in which all raises": lambda: raising(str, "odd"),
    "a number in which all raises": lambda: raising(int, 2),
    "a fraction in which all raises": lambda: raising(float, 2.0),
    "a list in which all raises": lambda: raising(list, ["data"]),
    "a mapping in which all raises": lambda: raising(dict, {"size": 2}),
    "yields names for ever": lambda: repeat("no-such-name"),
    "yields numbers for ever": count,
    "raises while it yields": lambda: (1 // (2 - number) for number in count()),
    "nested deeply": deep,
    "in a cycle": cyclic,
    "a number of thousands of digits": lambda: 10**5000,
    "a text of a million characters": lambda: "x" * 1_000_000,
    "surrogates": lambda: "\ud800",
    "control characters": lambda: "\x1b[31m\x07",
    "not a number": lambda: float("nan"),
    "a thousand names": lambda: [f"no-such-name-{number}" for number in range(1000)],
}
KEYWORDS = (
    "tensor",
    "nothing",
    "order",
    "only",
    "enable",
    "disable",
    "require",
    "within",
    "extra",
    "ranks_per_host",
    "config",
)
FIELDS: dict[str, Callable[[Any], object]] = {
    "name": lambda value: Mode(value),
    "over": lambda value: Mode("odd", over=value),
    "at": lambda value: Mode("odd", over=WORLD, at=value),
    "groups": lambda value: Mode("odd", groups=lambda mesh: value),
    "a group": lambda value: Mode("odd", groups=lambda mesh: [value]),
    "a rank": lambda value: Mode("odd", groups=lambda mesh: [[value]]),
    "after": lambda value: Mode("odd", over=WORLD, after=value),
    "dedicated": lambda value: Mode("odd", over=WORLD, dedicated=value),
    "backend": lambda value: Mode("odd", over=WORLD, backend=value),
    "timeout": lambda value: Mode("odd", over=WORLD, timeout=value),
    "cpu": lambda value: Mode("odd", over=WORLD, cpu=value),
    "options": lambda value: Mode("odd", over=WORLD, options=value),
    "an option": lambda value: Mode("odd", over=WORLD, options={"speed": value}),
    "axis": lambda value: Mode("odd", over=Axis(value)),
    "size": lambda value: Mode("odd", over=Axis("odd", size=value)),
    "inside": lambda value: Mode("odd", over=Axis("odd", size=2, inside=value)),
    "split of": lambda value: Mode("odd", over=Split(value, inner="odd", size=2)),
    "split inner": lambda value: Mode("odd", over=Split(WORLD, inner=value, size=2)),
    "split size": lambda value: Mode("odd", over=Split(WORLD, inner="odd", size=value)),
    "ragged": lambda value: Mode("odd", over=Split(WORLD, inner="odd", size=2, ragged=value)),
}


def check(make: Callable[[], object]) -> None:
    """Check that nothing but a bounded, clean error of pgregistry is raised; a value may also be accepted."""
    try:
        make()
    except (ConfigError, PluginError) as error:
        text = str(error)
    else:
        return
    assert len(text) < LONGEST_TEXT + 1000
    assert text.replace("\n", "").isprintable()


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("keyword", KEYWORDS)
def test_a_hostile_value_of_a_keyword_is_a_bounded_error(keyword: str, value: str) -> None:
    check(lambda: str(pgregistry.plan(8, **{keyword: VALUES[value]()})))


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("key", ["size", "backend", "timeout", "cpu", "dedicated", None])
def test_a_hostile_value_in_a_table_is_a_bounded_error(key: str | None, value: str) -> None:
    made = VALUES[value]()
    if key is None:
        try:
            hash(made)
        except Exception:
            pytest.skip("cannot be the key of a table")
    check(lambda: pgregistry.plan(8, zero1={made if key is None else key: made}))


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("field", FIELDS)
def test_a_hostile_field_of_a_mode_is_a_bounded_error(field: str, value: str) -> None:
    check(lambda: pgregistry.plan(8, extra=[FIELDS[field](VALUES[value]())]))


@pytest.mark.parametrize("value", VALUES)
def test_a_hostile_mode_of_plan_modes_is_a_bounded_error(value: str) -> None:
    check(lambda: pgregistry.plan_modes(8, VALUES[value]()))
    check(lambda: pgregistry.plan_modes(8, [Mode("odd", over=WORLD)], keep=VALUES[value]()))


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("name", ["timeout", "watch", "cpu", "backend", "watch_dir", "expect", "hosts", "plugins"])
def test_a_hostile_value_of_a_parameter_of_a_run_is_a_bounded_error(name: str, value: str) -> None:
    def read() -> None:
        problems = Problems()
        read_settings(problems, keywords={name: VALUES[value]()}, world_size=8)
        problems.raise_any()

    check(read)


@pytest.mark.parametrize("value", VALUES)
def test_a_hostile_world_size_is_a_bounded_error(value: str) -> None:
    check(lambda: pgregistry.plan(VALUES[value]()))


def test_thousands_of_unknown_names_are_one_bounded_error() -> None:
    with pytest.raises(ConfigError) as caught:
        pgregistry.plan(8, **{f"no_such_size_{number}": 2 for number in range(3000)})
    assert len(str(caught.value)) < LONGEST_TEXT + 1000
    assert "no_such_size_0" in str(caught.value)


ANSWERS = {
    "modes": "def pgregistry_modes(): {}",
    "check": "def pgregistry_check(plan): {}",
    "options": "def pgregistry_process_group_options(mode, backend): {}",
}
HOSTILE = {
    "for ever": "return __import__('itertools').repeat('no')",
    "raises": "yield 1 // 0",
    "deep": "value = []\n    for _ in range(100_000): value = [value]\n    return value",
    "exits": "raise SystemExit(7)",
    "recurses": "return again()",
    "a mapping that raises": "return Odd(ZeroDivisionError)",
    "a mapping that never ends": "return Odd(None)",
    "a text in a list": "return ['no', b'no']",
    "a key that is none": "return {2: 2}",
    "a value that is none": "return {'no': float('nan')}",
    "a nested value": "return {'no': {'no': 2}}",
}


ODD = """
from collections.abc import Mapping
from itertools import count

def again():
    return again()

class Odd(Mapping):
    def __init__(self, error):
        self.error = error
    def __getitem__(self, key):
        return key
    def __iter__(self):
        if self.error:
            raise self.error
        return map(str, count())
    def __len__(self):
        return 2
"""


@pytest.mark.parametrize("answer", HOSTILE)
@pytest.mark.parametrize("hook", ANSWERS)
def test_a_hostile_answer_of_a_hook_is_a_bounded_error(hook: str, answer: str, acme: Any) -> None:
    source = f"from pgregistry import hookimpl\n@hookimpl\n{ANSWERS[hook].format(HOSTILE[answer])}\n"
    acme(f"{source}\n{ODD}")
    with pytest.raises((ConfigError, PluginError)) as caught:
        pgregistry.plan(8)
    assert len(str(caught.value)) < LONGEST_TEXT + 1000
