"""The words that say which plan is meant, a world size and NAME=SIZE, and what to type in place of others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import click

from pgregistry.errors import ConfigError
from pgregistry.settings.sources import split_assignment
from pgregistry.values import LARGEST, shown

ORIGIN: Final = "command line"


def split_world_size(words: Sequence[str]) -> tuple[int | None, list[tuple[str, str]]]:
    """Return the leading world size, or None, and the NAME=SIZE words as pairs.

    >>> split_world_size(["8", "tensor=2"])
    (8, [('tensor', '2')])
    >>> split_world_size(["tensor", "2", "8"])
    Traceback (most recent call last):
        ...
    click.exceptions.UsageError: 'tensor' must be a world size or have the form NAME=SIZE. Type: 8 tensor=2

    Raises:
        click.UsageError: if a word is neither, or the world size is not the first word.
        ConfigError: if the world size is too large.
    """
    sizes = list(words)
    world_size = _world_size(sizes.pop(0)) if sizes and _is_number(sizes[0]) else None
    for word in sizes:
        if (given := word.partition("="))[0] == "world_size":
            raise click.UsageError(f"world_size is not a size. The world size is the first word: {given[2][:30]}")
        if not re.fullmatch(r"[^=]+=.+", word, re.DOTALL):
            rule = "have the form NAME=SIZE" if world_size else "be a world size or have the form NAME=SIZE"
            meant = _meant(words)
            hint = f"Type: {' '.join(meant)}" if meant else "Type a size as in tensor=2."
            raise click.UsageError(f"{shown(word)} must {rule}. {hint}")
    return world_size, [split_assignment(word, ORIGIN) for word in sizes]


def number(word: str) -> int:
    """Return a whole number; the error shows no more of the word than fits on a line."""
    try:
        return int(word)
    except ValueError:
        raise click.BadParameter(f"{shown(word)} must be a whole number.") from None


class SizesCommand(click.Command):
    """A command that takes sizes as words, and answers a size that is typed as an option with the word to type."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the words of the command line."""
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            name, value = error.option_name.lstrip("-"), _value_of(error.option_name, given)
            if _is_number(value) and error.option_name.startswith("--"):
                word = value if name in ("world-size", "world_size") else f"{name.replace('-', '_')}={value}"
                what = "The world size is the first word" if word == value else "A size is a word of its own"
                raise click.UsageError(f"No such option {error.option_name!r}. {what}: {word}", ctx) from error
            raise


def _value_of(option: str, words: Sequence[str]) -> str:
    """Return the value that follows an option, or is joined to it by an equals sign; empty if there is none."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == option:
            return following
        if word.startswith(f"{option}="):
            return word.removeprefix(f"{option}=")
    return ""


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdigit()


def _world_size(text: str) -> int:
    if len(text.lstrip("0")) > len(str(LARGEST)):  # Python refuses to read thousands of digits
        raise ConfigError(f"world_size = {shown(text).strip(chr(39))} must be a whole number from 1 to {LARGEST}.")
    return int(text)


def _meant(words: Sequence[str]) -> list[str]:
    """Return the words that somebody may have meant, the world size first; none if that is not clear.

    >>> _meant(["tensor=2", "8"]), _meant(["8", "tensor", "=", "2"]), _meant(["8", "tensor"])
    (['8', 'tensor=2'], ['8', 'tensor=2'], [])
    """
    text = " ".join(words)
    size = r"([A-Za-z_][\w.]*)(?: ?= ?| )(\d+)(?!\S)"
    pairs = [f"{name}={value}" for name, value in re.findall(size, text)]
    numbers = re.sub(size, "", text).split()
    return [*numbers, *pairs] if len(numbers) < 2 and all(map(_is_number, numbers)) else []
