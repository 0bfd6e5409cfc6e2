"""One self-contained page: a template with data, styles and script in it, which loads nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from html import escape
from importlib import resources

from pgregistry.views.palette import PALETTE, fills


def page(title: str, note: str, table: str, data: Mapping[str, object]) -> str:
    """Return the page.

    Args:
        title: Its title, as plain text.
        note: The line below the title, as plain text.
        table: HTML that a browser without script shows.
        data: What the script draws, as plain values.
    """
    script_data = json.dumps({**data, "colours": PALETTE}, ensure_ascii=False, separators=(",", ":"))
    parts = {
        "title": escape(title),
        "note": escape(note),
        "style": _template("page.css").replace("{{colours}}", fills("i", "background")),
        "table": table,
        "plan": script_data.replace("<", "\\u003c"),  # so that no text in it can end the element
        "script": _template("page.js"),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _template("page.html"))


def _template(name: str) -> str:
    return (resources.files("pgregistry.views") / "template" / name).read_text(encoding="utf-8")
