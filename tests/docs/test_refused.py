"""docs/refused.md has a place for every error of planning and of agreement.

That what it shows is what happens is tested with the other examples, in test_docs.py. Here the other way round: the
words of each error in the source are looked for in the page.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "refused.md").read_text(encoding="utf-8")
ERRORS = ("ConfigError", "PluginError", "PlanMismatch")
AGREEMENT = ("agree", "rendezvous", "start", "statement", "world")
#: Functions whose sentences are put into an error, and those errors that only pass on others or nobody sees.
SENTENCES = ("_wrong_hooks",)
INTERNAL = ("There is no plan.", "no plan")


def planning() -> set[str]:
    """The modules that a plan needs."""
    script = "import sys, pgregistry; pgregistry.plan(2, require=['pgregistry']).to_json(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    return {name.removeprefix("pgregistry.") for name in done.stdout.split() if re.fullmatch(r"pgregistry\.\w+", name)}


class Module:
    """The errors of one module, as patterns of their texts."""

    def __init__(self, name: str) -> None:
        self.tree = ast.parse((ROOT / "pgregistry" / f"{name}.py").read_text(encoding="utf-8"))
        functions = [node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef)]
        self.functions = {function.name: function for function in functions}

    def errors(self) -> Iterator[str]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS and node.args:
                yield from self.texts(node.args[0])
        for name in SENTENCES:
            yield from self.returned(name)

    def returned(self, name: str) -> Iterator[str]:
        for node in ast.walk(self.functions[name]) if name in self.functions else ():
            if isinstance(node, ast.Return) and node.value is not None:
                yield from self.texts(node.value)

    def texts(self, node: ast.expr) -> Iterator[str]:
        """The pattern of a text, or those of what a function of this module makes."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield re.escape(node.value)
        elif isinstance(node, ast.JoinedStr):
            parts = [re.escape(part.value) if isinstance(part, ast.Constant) else ".+" for part in node.values]
            yield "".join(parts)
        elif isinstance(node, ast.Call):
            yield from self.returned(getattr(node.func, "id", None) or getattr(node.func, "attr", ""))
        elif isinstance(node, ast.IfExp):
            yield from (*self.texts(node.body), *self.texts(node.orelse))


def quoted() -> str:
    """What the page shows in its blocks, without what was typed."""
    shown = re.findall(r"^```(?:python\n>>>|console\n|text\n)(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return "\n".join(re.sub(r"^(\$|>>>|\.\.\.) .*$", "", block, flags=re.MULTILINE) for block in shown)


MODULES = sorted({*planning(), *AGREEMENT})


@pytest.mark.parametrize("name", MODULES)
def test_every_error_of_planning_and_of_agreement_has_its_place(name: str) -> None:
    shown = quoted()
    missing = [
        text for text in Module(name).errors() if text not in map(re.escape, INTERNAL) and not re.search(text, shown)
    ]
    assert not missing, f"docs/refused.md has no example of {missing}"


def test_what_is_shown_without_being_run_has_the_words_of_the_source() -> None:
    patterns = [text for name in MODULES for text in Module(name).errors() if len(text.replace(".+", "")) > 20]
    for block in re.findall(r"^```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        rest = block
        for text in patterns:
            rest = re.sub(text, "", rest)
        assert not rest.strip(), rest


def test_the_errors_of_planning_are_found_in_its_modules() -> None:
    found = {name: list(Module(name).errors()) for name in MODULES}
    assert {"settings", "sources", "registry", "axes", "declare", "nesting", "sizes", "mesh", "listed", "agree"} <= {
        name for name, texts in found.items() if len(texts) > 2
    }
    assert sum(map(len, found.values())) > 90
