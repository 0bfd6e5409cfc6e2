"""Numbers in environment variables."""

from __future__ import annotations

from collections.abc import Mapping

from pgregistry.errors import ConfigError
from pgregistry.values import LARGEST, shown


def read_number(environ: Mapping[str, str], name: str, least: int, most: int = LARGEST) -> int:
    """Return the number in a variable that is set.

    >>> read_number({"RANK": "3"}, "RANK", 0)
    3

    Raises:
        ConfigError: if it is not a whole number from `least` to `most`.
    """
    text = environ[name]
    # Python refuses to read thousands of digits.
    if not (text.isascii() and text.isdigit() and len(text) <= 30 and least <= int(text) <= most):
        raise ConfigError(f"{name} = {shown(text)} (environment) must be a whole number from {least} to {most}.")
    return int(text)
