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


def default_sizes(modes: Iterable[Mode]) -> dict[str, int | str]:
    """Return the sizes that modes declare, with their defaults; a special one by its name.

    >>> from pgregistry import FULL, Split
    >>> default_sizes([Mode("a", over=Axis("data", REST)), Mode("b", over=Split("data", inner="near", size=FULL))])
    {'data': 'REST', 'near': 'FULL'}
    """
    defaults: dict[str, int | str] = {}
    for mode in modes:
        for item in walk(mode.declares):
            if isinstance(item, Axis):
                defaults[item.name] = _name(item.size)
            elif isinstance(item, Part):
                inner, outer = item.split.inner.name, item.split.outer.name
                defaults[inner or outer or ""] = _name(item.split.size)
                if inner and outer:
                    defaults[outer] = _name(REST)
    return defaults


def _name(size: int | str | Special) -> int | str:
    return repr(size) if isinstance(size, Special) else size
