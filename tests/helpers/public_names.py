"""Find what a file uses of pgregistry that is not public."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator

import pgregistry
import pgregistry.testing

#: What a plugin may import beside the standard library and itself: what pgregistry depends on, and its extra `plot`.
DEPENDENCIES = {"click", "matplotlib", "pluggy", "rich", "torch"}
PUBLIC = {"pgregistry": pgregistry.__all__, "pgregistry.testing": pgregistry.testing.__all__}


def not_public(source: str, package: str | None = None) -> Iterator[str]:
    """Yield what a file imports or reads of pgregistry that is not public, as a third party's may not.

    With the name of a package it may import that, the standard library and `DEPENDENCIES`, and nothing else.
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [(node.module or "", alias.name) for alias in node.names]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in PUBLIC:
            modules = [(node.value.id, node.attr)]
        else:
            continue
        for module, name in modules:
            top = module.partition(".")[0]
            if top == "pgregistry":
                if module not in PUBLIC or (name and name not in PUBLIC[module]):
                    yield f"{module} {name}".strip()
            elif package and top != package and top not in DEPENDENCIES and top not in sys.stdlib_module_names:
                yield module
