"""An error that blames a plugin has where it is from and how to run without it."""

from __future__ import annotations

import re

import pytest
import refused_page
from refusals import Section, declarations, plugins

#: How an error about one plugin, or about several, gives the way to run without one.
WAY_OUT = re.compile(r"^ *To run without it[:,] |disable=\[|out of plugins=", re.MULTILINE)


@pytest.mark.parametrize(
    "section", [plugins.INSTALLATION, plugins.PLUGINS, declarations.DECLARATIONS], ids=lambda one: str(one.title)
)
def test_an_error_about_a_plugin_has_where_it_is_from_and_how_to_run_without_it(section: Section) -> None:
    shown = refused_page.show(section).text
    errors = re.findall(r"^(?:pgregistry\.)?PluginError: (.*?)(?=^(?:>>>|\$|```))", shown, re.MULTILINE | re.DOTALL)
    about = [error for error in errors if re.search(r"plugin '(?!extra')", error)]
    assert about
    assert [error for error in about if not WAY_OUT.search(error)] == []
    assert [error for error in about if not re.search("^ *(Found in|Named by) ", error, re.MULTILINE)] == []
