"""References to axes and parts: how they are shown, and what they are made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pgregistry.vocabulary import REST, Axis, Mode, Part, Reference, Special


def label(reference: Reference) -> str:
    """Return a reference as text.

    >>> from pgregistry import Split, WORLD
    >>> label(WORLD), label(Split("data", inner="zero1").inner), label(Split("data", inner="zero1").outer)
    ('world', 'zero1', 'data / zero1')
    """
    if isinstance(reference, str):
        return reference
    if isinstance(reference, Axis):
        return reference.name
    if isinstance(reference, Part):
        of = " × ".join(map(label, reference.split.of))
        return reference.name or f"{of} / {reference.other.name}"
    return "world"


def walk(references: Iterable[Reference]) -> Iterator[Reference]:
    """Yield references and what their splits are made of, without following names."""
    for reference in references:
        yield reference
        if isinstance(reference, Part):
            yield from walk(reference.split.of)


def named(reference: Reference) -> dict[str, Axis | Part]:
    """Return what a reference declares, by name: an axis, or the named parts of a split."""
    if isinstance(reference, Axis):
        return {reference.name: reference}
    parts = (reference.split.inner, reference.split.outer) if isinstance(reference, Part) else ()
    return {part.name: part for part in parts if part.name}


def default_size(item: Axis | Part) -> int | str | Special:
    """Return the size that the author of an axis or a split gave it; 1 if there is none."""
    size = item.size if isinstance(item, Axis) else item.split.size
    return 1 if size is None else size


def default_sizes(modes: Iterable[Mode]) -> dict[str, int | str]:
    """Return the sizes that modes declare, with their defaults; a special one by its name.

    >>> from pgregistry import FULL, Split
    >>> default_sizes([Mode("a", over=Axis("data", REST)), Mode("b", over=Split("data", inner="near", size=FULL))])
    {'data': 'REST', 'near': 'FULL'}
    """
    defaults: dict[str, int | str] = {}
    for name, item in declared_sizes(modes).items():
        beside_inner = isinstance(item, Part) and item.side == "outer" and item.other.name
        size = REST if beside_inner else default_size(item)
        defaults[name] = repr(size) if isinstance(size, Special) else size
    return defaults


def declared_sizes(modes: Iterable[Mode]) -> dict[str, Axis | Part]:
    """Return the axes and named parts that modes declare, by name; of equal splits the one that gives the size."""
    declared: dict[str, Axis | Part] = {}
    for mode in modes:
        for item in walk(mode.declares):
            for name, one in named(item).items():
                if name not in declared or (isinstance(one, Part) and one.split.size is not None):
                    declared[name] = one
    return declared
