"""Faults across hosts, each at the worst moment: what every rank gets, the odd one too, and when."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from bed import NOBODY, PORT, Bed
from fault_ranks import installed, logged, write_distributions
from host_faults import CONTEXT, FAULTS, PATIENCE, TORCH, HostFault, expected
from hosts_or_skip import hosts_or_skip
from ranks import run_ranks
from ranks_on_hosts import Site, site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

STRANGER: Final = str(Path(__file__).parent / "jobs" / "stranger.py")
#: An address of the stranger to which the host of the store finds no way.
NOWHERE: Final = "10.0.0.99"
#: Seconds that one host comes late.
LATE: Final = 10


@pytest.fixture(scope="module")
def bed() -> Iterator[Bed]:
    yield from hosts_or_skip(3)


def stand_still(moment: str, where: Site, go_on: Callable[[], None]) -> None:
    """Have this rank stop at a moment of `init` until the test lets it go on."""
    from pgregistry.building.address_exchange import ExchangeStore
    from pgregistry.runtime import initialize

    owners: dict[str, tuple[Any, str]] = {
        "before": (initialize.Agreement, "reach"),
        "between": (initialize, "start_default_group"),
        "world": (initialize, "build"),
        "connecting": (ExchangeStore, "_end"),
        "last": (initialize, "barrier"),
    }
    if moment not in owners:
        return
    owner, name = owners[moment]
    real = getattr(owner, name)

    def paused(*args: Any, **keywords: Any) -> Any:
        setattr(owner, name, real)
        where.pause(moment)
        go_on()
        return real(*args, **keywords)

    setattr(owner, name, paused)


def outcome(where: Site, fault: HostFault, plugins: Path) -> dict[str, Any]:
    """Return what `init` does on this rank, then a collective, and how long each takes."""
    import torch
    import torch.distributed as dist

    import pgregistry

    rank, begun = where.enter({"TORCH_CPP_LOG_LEVEL": "ERROR"}), [time.monotonic()]
    odd = rank == fault.host
    stand_still(fault.moment, where, lambda: begun.__setitem__(0, time.monotonic()))
    if fault.moment == "start":
        where.pause("start")
    label = {True: "ring 2", False: "ring"}[odd] if fault.action == "version" else "silent"
    time.sleep(LATE if odd and fault.action == "late" else 0)
    begun[0] = time.monotonic()
    said: dict[str, Any] = {"error": CONTEXT, "text": ""}
    patience = 3 * LATE if fault.action == "late" else PATIENCE
    sizes = {"ring": 3} if fault.action == "version" else {}
    with installed(plugins, (label,)), logged() as lines:
        try:
            context = pgregistry.init(
                zero1={"dedicated": True}, timeout=PATIENCE, agree_timeout=patience, build_timeout=PATIENCE, **sizes
            )
        except pgregistry.PgregistryError as error:
            said = {"error": type(error).__name__, "text": str(error)}
        said |= {"seconds": time.monotonic() - begun[0], "log": list(lines)}
    if said["error"] == CONTEXT:
        if fault.moment == "after":
            dist.all_reduce(torch.ones(1))
            where.pause("after")
        begun[0] = time.monotonic()
        try:
            dist.all_reduce(total := torch.ones(1))
            said |= {"collective": total.item()}
        except RuntimeError as error:
            said |= {"error": TORCH, "collective": str(error), "seconds": time.monotonic() - begun[0]}
        begun[0] = time.monotonic()
        context.close()
        said |= {"close": time.monotonic() - begun[0]}
    return said


def begin(fault: HostFault, bed: Bed, folder: Path) -> None:
    """Do what the fault consists of, and return when it has begun."""
    if fault.action == "down":
        bed.down(fault.host)
    elif fault.action == "part":
        bed.part(1, 2)
    elif fault.action in ("scan", "http", "garbage", "mute", "half"):
        source = (NOWHERE,) if fault.action == "half" else ()
        command = (sys.executable, STRANGER, fault.action, bed.address(0), str(PORT), *source)
        stranger = bed.start({fault.host: command}, cwd=folder)
        stranger.until((folder / f"stranger-{fault.action}").exists, 30)


@pytest.fixture
def healthy(bed: Bed) -> Iterator[Bed]:
    """Return the bed, and mend it after the test."""
    bed.machines[2].run("ip", "address", "replace", f"{NOWHERE}/32", "dev", "eth0")
    bed.machines[0].run("ip", "neigh", "replace", NOWHERE, "lladdr", NOBODY, "dev", "eth0", "nud", "permanent")
    yield bed
    bed.part(1, 2)
    bed.part(1, 2, parted=False)
    for host in range(3):
        bed.up(host)
    bed.kill(2)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.kind)
def test_what_every_rank_gets(healthy: Bed, tmp_path: Path, fault: HostFault) -> None:
    where = site(healthy, 1, tmp_path)
    acting = where.at(fault.moment, lambda: begin(fault, healthy, tmp_path))
    plugins = write_distributions(tmp_path / "plugins")
    answers = run_ranks(3, outcome, where, fault, plugins, world=False, timeout=120)
    acting.join()
    for rank, said in enumerate(answers):
        error, text, soon = expected(fault, rank)
        shown = f"{fault.kind}, rank {rank}: {said}"
        assert said["error"] == error, shown
        assert text in said["text"], shown
        assert max(said["seconds"], said.get("close", 0)) < soon, shown
        if error == CONTEXT:
            assert said["collective"] == 3, shown
    log = list(itertools.chain.from_iterable(said["log"] for said in answers))
    assert not fault.log or any(fault.log in line for line in log), log
