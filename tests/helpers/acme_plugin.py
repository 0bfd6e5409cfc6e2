"""A distribution with one plugin, installed for one test: `acme(source)`."""

from __future__ import annotations

import re
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


def without_ends(text: str) -> str:
    """Return the text of an error without the lines on how to run without a plugin, and where it is found."""
    return re.sub(r"\n *(Found in|To run without it:) .*\.(?=\n|$)", "", text)


GOOD = modes_hook("yield Mode('acme', over=())")


def whole_refusal(kind: type[PgregistryError], **keywords: Any) -> str:
    """Return the text of the error that a plan is refused with."""
    with pytest.raises(kind) as caught:
        pgregistry.plan(4, **keywords)
    return str(caught.value)


def refusal(kind: type[PgregistryError], **keywords: Any) -> str:
    """Return the text of the error that a plan is refused with, without the end that all errors of plugins have."""
    return without_ends(whole_refusal(kind, **keywords))
