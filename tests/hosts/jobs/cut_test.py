"""Run a network test that pauses before anything is measured, so that a link can be cut."""

from pathlib import Path
from typing import Any

import pgregistry_nettest
from answers import pause
from pgregistry_nettest.session import Session

import pgregistry

real = Session._partition


def paused(self: Session, *args: Any) -> None:
    Session._partition = real  # type: ignore[method-assign]
    pause("here")
    real(self, *args)


Session._partition = paused  # type: ignore[method-assign]
with pgregistry.init(only=["global"], agree_timeout=120) as context:
    report = pgregistry_nettest.run(context, sizes=(1 << 16,), timeout=3)
    if context.rank == 0:
        Path("report.part").write_text(report.to_json(), encoding="utf-8")
        Path("report.part").rename("report.json")
