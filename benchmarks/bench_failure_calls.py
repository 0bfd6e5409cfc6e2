"""Store calls of the busiest rank when `init` fails: the cost must not grow with the world."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import measure
import worlds

WORLDS = (8, 16, 32, 64)
#: Seconds until a rank that does not come is given up, and until a build is.
PATIENCE = 2.0
KINDS = ("a mismatch", "a rank whose plan fails", "a missing rank", "a failed build", "a rank missing in the build")


def failing(kind: str) -> dict[str, int]:
    """Return the calls of this rank until `init` raised; the odd rank is rank 1."""
    import pgregistry
    from pgregistry import Mode

    store = worlds.watched_world()
    odd = int(os.environ["RANK"]) == 1
    sizes: dict[str, Any] = {"tensor": 2, "agree_timeout": 60, "build_timeout": 60}
    if kind == "a mismatch" and odd:
        sizes["tensor"] = 4
    elif kind == "a rank whose plan fails" and odd:
        sizes["tensor"] = 3
    elif kind == "a missing rank":
        sizes["agree_timeout"] = PATIENCE
    elif kind == "a failed build":
        sizes["extra"] = [Mode("wrong", over="tensor", backend="mpi")]  # which this torch does not have
    elif kind == "a rank missing in the build":
        sizes["build_timeout"] = PATIENCE
    absent = odd and "missing rank" in kind
    if kind == "a rank missing in the build" and odd:
        stop_before_the_build()
    store.reset()
    if not absent:
        try:
            pgregistry.init(**sizes).close()
        except (pgregistry.PgregistryError, SystemError) as error:
            return {"calls": store.calls, "raised": 1, "text": hash(str(error)) % 2**31}
    return {"calls": store.calls, "raised": 0, "text": 0}


def stop_before_the_build() -> None:
    """Have this rank agree, and then not build: it ends with an exit that tells nobody."""
    from pgregistry.runtime import initialize

    def stop(*_: Any, **__: Any) -> None:
        raise SystemError("stopped")

    initialize.build = stop
    initialize._announce = lambda *_: None


def busiest(world: int, kind: str) -> int:
    answers = worlds.run_ranks(world, partial(failing, kind)).answers
    if sum(answer["raised"] for answer in answers) < world - 1:
        raise SystemExit(f"{kind}: not all ranks raised")
    return max(answer["calls"] for answer in answers)


def main() -> None:
    rows = [(kind, *(str(busiest(world, kind)) for world in WORLDS)) for kind in KINDS]
    columns = ("store calls of the busiest rank", *(f"{world} ranks" for world in WORLDS))
    measure.show(
        "Store calls from init to its error",
        columns,
        rows,
        "Aim: flat in the number of ranks. A rank that waits may ask once more every few seconds.",
    )


if __name__ == "__main__":
    main()
