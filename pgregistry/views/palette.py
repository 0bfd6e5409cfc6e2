"""The colours of groups, which people with any colour vision tell apart, under dark letters."""

from __future__ import annotations

from typing import Final

#: Paul Tol's "light" scheme. Groups of one colour have different letters.
PALETTE: Final = ("#77aadd", "#ee8866", "#eedd88", "#ffaabb", "#44bb99", "#99ddff", "#bbcc33", "#aaaa00")


def fills(selector: str, property_name: str) -> str:
    """Return one CSS rule for each colour: of the class `c0` and so on, and as the variable `--c0`.

    >>> fills("i", "background").splitlines()[1]
    'i.c0 { background: var(--c0); }'
    """
    variables = " ".join(f"--c{index}: {colour};" for index, colour in enumerate(PALETTE))
    rules = [f"{selector}.c{index} {{ {property_name}: var(--c{index}); }}" for index in range(len(PALETTE))]
    return "\n".join([f":root {{ {variables} }}", *rules])
