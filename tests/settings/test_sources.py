"""Variables of the environment: PGREGISTRY, and those that take one of two values."""

from __future__ import annotations

import pytest

import pgregistry
from pgregistry import ConfigError
from pgregistry.settings.sources import chosen, split_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("  tensor=2\tpipe=2\n", ["tensor=2", "pipe=2"]),
        ("'zero1={size = 2}' tensor=2", ["zero1={size = 2}", "tensor=2"]),
        ('"zero1={size = 2}"', ["zero1={size = 2}"]),
        ("zero1={size = 2, backend = 'a b'} tensor=2", ["zero1={size = 2, backend = 'a b'}", "tensor=2"]),
        ("tensor =4", ["tensor", "=4"]),
        ("tensor=2 'pipe", ["tensor=2", "'pipe"]),
        ("zero1={size=2", ["zero1={size=2"]),
        ("{size=2}", ["{", "size=2}"]),
    ],
)
def test_words_end_at_spaces_outside_of_quotes_and_braces(text: str, words: list[str]) -> None:
    assert split_words(text) == words


def test_a_misspelt_way_of_building_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGREGISTRY_BUILD", "pubic")
    with pytest.raises(ConfigError) as caught:
        pgregistry.plan(8)
    assert str(caught.value) == (
        "PGREGISTRY_BUILD = 'pubic' (environment) must be name or public. Did you mean 'public'?"
    )


@pytest.mark.parametrize(("value", "said"), [("name", "name"), ("public", "public"), ("", None), (None, None)])
def test_a_way_of_building_is_name_or_public_or_not_set(value: str | None, said: str | None) -> None:
    assert chosen("PGREGISTRY_BUILD", {} if value is None else {"PGREGISTRY_BUILD": value}) == said
