"""The plan that a run is expected to have: a fingerprint, or a file with the JSON of a plan."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path
from typing import Final

from pgregistry.errors import ConfigError
from pgregistry.planning.plans.difference import differences
from pgregistry.planning.plans.plan import Plan
from pgregistry.settings.merge import ConfigValue

#: At most so many differences are listed.
LISTED: Final = 20


def read_plan(path: str, what: str, rule: str = "") -> Plan:
    """Return the plan in a file that holds the JSON of one.

    Raises:
        ConfigError: beginning with `what`, if there is no such file, it holds no plan, or it was changed; in the first
            case it ends with `rule`.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{what} cannot be read: {error.strerror or error}.{rule}") from error
    except ValueError as error:  # not UTF-8, or a null byte in the path
        raise ConfigError(f"{what} must be a file with the JSON of a plan: {error}.") from error
    try:
        return Plan.from_json(text)
    except ConfigError as error:
        raise ConfigError(f"{what} must hold the JSON of a plan. {error}") from error


def check_expected(plan: Plan, expect: ConfigValue[str] | None) -> None:
    """Raise ConfigError if a plan is not the expected one: `expect` is a fingerprint, or the path of a plan's JSON.

    >>> import pgregistry
    >>> plan = pgregistry.plan(8, tensor=2)
    >>> check_expected(plan, ConfigValue(plan.fingerprint, "keyword"))
    >>> check_expected(plan, ConfigValue("0" * 32, "keyword"))
    Traceback (most recent call last):
        ...
    pgregistry.ConfigError: The plan must have fingerprint 00000000000000000000000000000000 (expect, keyword), but ...
    """
    if expect is None:
        return
    here, asked = plan.fingerprint, f"(expect, {expect.origin})"
    if re.fullmatch("[0-9a-fA-F]{32}", expect.value):
        if expect.value.lower() != here:
            way_out = "Give the path of the expected plan's JSON to see what differs."
            raise ConfigError(f"The plan must have fingerprint {expect.value} {asked}, but it has {here}. {way_out}")
        return
    rule = " It must be a fingerprint of 32 hexadecimal digits, or the path of a plan's JSON."
    expected = read_plan(expect.value, f"expect = {expect.value} ({expect.origin})", rule)
    if here != expected.fingerprint:
        found = islice(differences(plan, expected), LISTED)
        lines = [f"  {one.what}: {one.here} here, {one.there} expected" for one in found]
        text = f"The plan must be the one in {expect.value} {asked}, but it differs from it:"
        raise ConfigError("\n".join([text, *lines]))
