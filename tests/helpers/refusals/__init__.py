"""The errors of docs/refused.md: how each is raised, and why. A section is a module."""

from __future__ import annotations

from dataclasses import dataclass
from inspect import cleandoc


class Refusal:
    """One kind of error.

    Each block is shown in the page with what comes of it, by its first line:

    * `$ …`: commands of pgregistry, or `$ torchrun` with a script of the section;
    * `# NAME.py` or `# NAME.toml`: a file in the working directory, and `# pgregistry_NAME.py` an installed plugin;
    * `[project.entry-points.pgregistry]`: the entry points of the section's plugins;
    * `# hidden`: Python that is run and not shown;
    * Python otherwise, of which the last statement must raise the error.
    """

    def __init__(self, title: str, why: str, *blocks: str) -> None:
        self.title = title
        self.why = cleandoc(why)
        self.blocks = [cleandoc(block) for block in blocks]


@dataclass(frozen=True)
class Section:
    """The errors about one subject."""

    title: str
    about: str
    refusals: tuple[Refusal, ...]

    @property
    def blocks(self) -> list[str]:
        """Return all blocks in their order."""
        return [block for refusal in self.refusals for block in refusal.blocks]
