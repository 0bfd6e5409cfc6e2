"""Pages that are made from the code: every public name with its signature and docstring, and every command."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from textwrap import dedent
from typing import Any

import click

import pgregistry
import pgregistry.testing
from pgregistry import cli

#: The heads of the parts of a docstring.
PARTS = ("Args", "Attributes", "Returns", "Raises", "Yields")


def api_page() -> str:
    """Return the page of every public name."""
    lines = [
        "# Python API",
        "",
        "Every public name, from its docstring. [reference.md](reference.md) explains them together.",
    ]
    for module in (pgregistry, pgregistry.testing):
        for name in sorted(module.__all__, key=str.lower):
            thing = getattr(module, name)
            if inspect.isclass(thing) or callable(thing):
                lines += ["", f"## {module.__name__}.{name}", "", *_thing(name, thing)]
    return "\n".join(lines) + "\n"


def _thing(name: str, thing: Any) -> Iterator[str]:
    """Yield the lines of a class or a function, and then those of the methods of the class."""
    yield from _signature(name, thing)
    yield from _docstring(inspect.getdoc(thing) or "")
    for member, value in sorted(_members(thing).items()) if inspect.isclass(thing) else ():
        yield from ("", f"### {name}.{member}", "")
        function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if not isinstance(value, property):
            yield from _signature(member, function)
        yield from _docstring(inspect.getdoc(function) or "")


def _members(kind: type) -> dict[str, Any]:
    """Return the public methods and properties of a class that have a docstring, those of its bases too."""
    found: dict[str, Any] = {}
    for one in kind.__mro__:
        if one.__module__.startswith("pgregistry"):
            for name, value in vars(one).items():
                documented = isinstance(value, property | classmethod | staticmethod) or inspect.isfunction(value)
                if not name.startswith("_") and documented and inspect.getdoc(value):
                    found.setdefault(name, value)
    return found


def _signature(name: str, thing: Any) -> Iterator[str]:
    """Yield the signature of a function or a class as code, a parameter a line if it is long."""
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):
        return
    shown = [_parameter(one) for one in signature.parameters.values()]
    kinds = [one.kind for one in signature.parameters.values()]
    if inspect.Parameter.KEYWORD_ONLY in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds:
        shown.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
    returns = (
        "" if signature.return_annotation is signature.empty else f" -> {_annotation(signature.return_annotation)}"
    )
    line = f"{name}({', '.join(shown)}){returns}"
    lines = [line] if len(line) <= 88 else [f"{name}(", *(f"    {one}," for one in shown), f"){returns}"]
    yield from ("```python", *lines, "```", "")


def _parameter(one: inspect.Parameter) -> str:
    """Return a parameter as a reader would write it, without the modules of its types."""
    stars = {one.VAR_POSITIONAL: "*", one.VAR_KEYWORD: "**"}.get(one.kind, "")
    typed = "" if one.annotation is one.empty else f": {_annotation(one.annotation)}"
    default = "" if one.default is one.empty else f" = {one.default!r}" if typed else f"={one.default!r}"
    return f"{stars}{one.name}{typed}{default}"


def _annotation(given: object) -> str:
    return given if isinstance(given, str) else inspect.formatannotation(given)


def _docstring(text: str) -> Iterator[str]:
    """Yield the lines of a docstring in Markdown: examples as code, and its parts as lists."""
    part, code = "", False
    for line in text.splitlines():
        head = re.fullmatch(rf"({'|'.join(PARTS)}):", line)
        is_code = line.lstrip().startswith((">>> ", "... ")) or (code and bool(line.strip()))
        if is_code != code:
            yield "```python" if is_code else "```"
            code = is_code
        if head:
            part = head[1]
            yield from (f"**{part}**", "")
        elif part and re.match(r" {4}\S", line) and not is_code:
            name, colon, rest = line.strip().partition(": ")
            yield f"* `{name}`: {rest}" if colon else f"* {line.strip()}"
        else:
            yield line if is_code else dedent(line)
    if code:
        yield "```"


def command_line_page() -> str:
    """Return the page of every command, as its `--help` has it."""
    group = cli.make_cli()
    context = click.Context(group, info_name="pgregistry", terminal_width=100, max_content_width=100)
    lines = ["# Command line", "", "What `--help` prints. [reference.md](reference.md#command-line) explains it.", ""]
    lines += ["```text", group.get_help(context), "```"]
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None:
            inner = click.Context(command, info_name=name, parent=context, terminal_width=100, max_content_width=100)
            lines += ["", f"## pgregistry {name}", "", "```text", command.get_help(inner), "```"]
    return "\n".join(lines) + "\n"
