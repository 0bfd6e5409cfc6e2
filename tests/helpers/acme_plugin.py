"""A distribution with one plugin, installed for one test: `acme(source)`."""

from __future__ import annotations

from typing import Any

import pytest

import pgregistry
from pgregistry import PgregistryError

HEAD = "from pgregistry import Axis, Mode, Split, hookimpl\n"
ACME = "plugin 'acme', pgregistry-acme 0.1"
POINT = f"{ACME} (entry point pgregistry: acme = acme_plugin)"
WAY_OUT = "\nTo run without it: disable=['acme'], --disable acme or PGREGISTRY_DISABLE=acme."


def modes_hook(body: str) -> str:
    """Return the source of a plugin with this body of `pgregistry_modes`."""
    return f"{HEAD}\n@hookimpl\ndef pgregistry_modes():\n    {body}\n"


GOOD = modes_hook("yield Mode('acme', over=())")


def refusal(kind: type[PgregistryError], **keywords: Any) -> str:
    with pytest.raises(kind) as caught:
        pgregistry.plan(4, **keywords)
    return str(caught.value)
