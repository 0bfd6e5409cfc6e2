"""Distributions that a run requires."""

from __future__ import annotations

from typing import Any

import pytest
from sourced import planned, refusal


def test_a_requirement_that_is_met_says_nothing() -> None:
    assert planned(require=["pgregistry>=0.1,<1", "pluggy"]) == planned()
    assert planned(require="pgregistry>=0.1,<1, pluggy") == planned()


@pytest.mark.parametrize(
    ("requirement", "text"),
    [
        (
            "pgregistry>=9",
            (
                "require: 'pgregistry>=9' (keyword), but pgregistry 0.1.0 is installed. "
                "Install it: pip install 'pgregistry>=9'."
            ),
        ),
        (
            "nowhere>=1",
            "require: 'nowhere>=1' (keyword) is not installed. Install it: pip install 'nowhere>=1'.",
        ),
    ],
)
def test_a_requirement_that_is_not_met_is_refused(requirement: str, text: str) -> None:
    assert refusal(require=[requirement]) == text


def test_what_is_no_requirement_is_refused() -> None:
    text = refusal(require=["not a requirement"])
    rule = "must be a requirement such as pgregistry-expert>=1"
    assert text.startswith(f"require: 'not a requirement' (keyword) {rule}: ")


def test_requirements_add_up_and_keep_their_origin(toml: Any) -> None:
    config = toml("require = ['nowhere']\n")
    assert refusal(environ={"PGREGISTRY_REQUIRE": "pgregistry>=9"}, config=config) == (
        "2 problems:\n"
        "- require: 'pgregistry>=9' (PGREGISTRY_REQUIRE), but pgregistry 0.1.0 is installed. "
        "Install it: pip install 'pgregistry>=9'.\n"
        f"- require: 'nowhere' ({config}) is not installed. Install it: pip install 'nowhere'."
    )


def test_a_requirement_for_another_python_says_nothing() -> None:
    assert planned(require=["nowhere; python_version < '3'"]) == planned()


@pytest.mark.parametrize(
    ("requirement", "text"),
    [
        ("nowhere>=1", "is not installed. Install it: pip install 'nowhere>=1'."),
        ("pgregistry>=9", "but pgregistry 0.1.0 is installed."),
        ("pgregistry==0.1.0,!=0.1.0", "but pgregistry 0.1.0 is installed."),
        ("pgregistry>>1", "must be a requirement such as pgregistry-expert>=1: Expected"),
        ("pgregistry>=", "must be a requirement such as pgregistry-expert>=1: Expected"),
    ],
)
@pytest.mark.parametrize("origin", ["keyword", "command line", "PGREGISTRY_REQUIRE", "file"])
def test_a_requirement_is_refused_with_where_it_was_said(origin: str, requirement: str, text: str, toml: Any) -> None:
    if origin == "keyword":
        said = refusal(require=[requirement])
    elif origin == "command line":
        said = refusal(typed={"require": requirement})
    elif origin == "PGREGISTRY_REQUIRE":
        said = refusal(environ={origin: requirement})
    else:
        origin = toml(f"require = [{requirement!r}]\n")
        said = refusal(config=origin)
    comma = "" if text.startswith(("is", "must")) else ","
    assert said.startswith(f"require: {requirement!r} ({origin}){comma} {text}")


def test_a_requirement_may_ask_for_any_version_and_is_met_by_a_pre_release(distribution: Any) -> None:
    distribution("pgregistry-acme", {}, {}, version="2.0rc1")
    assert planned(require=["pgregistry-acme", "PGRegistry_Acme>=1.5"]) == planned()
    assert refusal(require=["pgregistry-acme>=2.0"]) == (
        "require: 'pgregistry-acme>=2.0' (keyword), but pgregistry-acme 2.0rc1 is installed. "
        "Install it: pip install 'pgregistry-acme>=2.0'."
    )


def test_a_requirement_is_of_what_is_installed_be_it_switched_off_or_not(distribution: Any) -> None:
    distribution("pgregistry-acme", {"acme": "acme_broken"}, {"acme_broken.py": "1 // 0"})
    assert planned(require=["pgregistry-acme>=0.1"], disable=["acme"]) == planned(disable=["acme"])


def test_a_requirement_in_text_may_have_a_marker() -> None:
    text = "nowhere>=1,<2; python_version < '3' and sys_platform == 'linux', pluggy"
    assert planned(require=text) == planned(require=["pluggy"])
    assert refusal(require="nowhere; python_version > '3', pluggy").startswith(
        "require: \"nowhere; python_version > '3'\""
    )


@pytest.mark.parametrize("metadata", ["Name: pgregistry-acme\n", "Name: pgregistry-acme\nVersion: new\n"])
def test_a_version_that_is_not_known_meets_no_requirement_on_it(metadata: str, distribution: Any) -> None:
    site = distribution("pgregistry-acme", {}, {})
    (site / "pgregistry_acme-0.1.dist-info" / "METADATA").write_text(metadata, encoding="utf-8")
    version = "new" if "new" in metadata else "unknown"
    assert refusal(require=["pgregistry-acme>=0.1"]) == (
        f"require: 'pgregistry-acme>=0.1' (keyword), but pgregistry-acme {version} is installed. "
        "Install it: pip install 'pgregistry-acme>=0.1'."
    )
