"""Checkpoints that a run of any layout can load, and that are refused if they are of another model or not whole."""

from __future__ import annotations

import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import manifest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from gpt import Config
from manifest import Refused
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict
from torch.distributed.optim import ZeroRedundancyOptimizer

from pgregistry import ParallelContext

#: How the name of a checkpoint ends until all of it is written.
PARTIAL: Final = ".partial"
#: By the names of parameters: those of the stages of a pipeline then do not clash.
BY_NAME = StateDictOptions(flatten_optimizer_state_dict=True)


class Checkpoints:
    """The checkpoints of a run in a folder that all ranks see, one folder for each step; without a folder, none."""

    def __init__(self, folder: Path | None, config: Config, context: ParallelContext) -> None:
        self.folder, self.context = folder, context
        self.shape = asdict(config)
        del self.shape["dropout"]  # it shapes no weight, and a run may go on with another

    def save(self, model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Save the state after a step; all ranks call it together."""
        if self.folder is None:
            return
        final = self.folder / f"step-{step:08}"
        partial = final.with_suffix(PARTIAL)
        weights, moments = get_state_dict(model, _whole(optimizer), options=BY_NAME)
        everyone = self.context["global"].group
        if self.context.rank == 0:
            shutil.rmtree(partial, ignore_errors=True)
        dist.barrier(everyone)
        dcp.save({"model": weights, "optimizer": moments}, checkpoint_id=partial, process_group=everyone)
        if self.context.rank == 0:
            manifest.write(partial, step, self.shape)
            shutil.rmtree(final, ignore_errors=True)
            partial.rename(final)
        dist.barrier(everyone)

    def load(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
        """Load the last good checkpoint, whatever layout saved it; return its step, and 0 if there is none.

        Raises:
            Refused: on every rank, if a save was ever completed and no checkpoint is good.
        """
        found: list[Any] = [self._last_good() if self.context.rank == 0 else None]
        dist.broadcast_object_list(found, src=0, group=self.context["global"].group)
        if isinstance(found[0], Refused):
            raise found[0]
        if found[0] is None:
            return 0
        path, step = found[0]
        weights, moments = get_state_dict(model, _whole(optimizer), options=BY_NAME)
        state: dict[str, Any] = {"model": weights, "optimizer": moments}
        dcp.load(state, checkpoint_id=path, process_group=self.context["global"].group)
        set_state_dict(
            model,
            _whole(optimizer),
            model_state_dict=state["model"],
            optim_state_dict=state["optimizer"],
            options=BY_NAME,
        )
        return step

    def _last_good(self) -> tuple[Path, int] | Refused | None:
        """Return the last good checkpoint and its step, None if none was ever whole, or why none is good."""
        there = sorted(self.folder.glob("step-*"), reverse=True) if self.folder else []
        reasons: dict[Path, str] = {}
        good: tuple[Path, int] | None = None
        for path in there:
            try:
                good = path, manifest.check(path, self.shape)
                break
            except Refused as reason:
                reasons[path] = str(reason)
        # If the first save of all was cut short, nothing is lost: a run that is started again begins anew.
        if good is None and any(path.suffix != PARTIAL for path in reasons):
            return Refused("\n".join(reasons.values()))
        print(*(f"Refused: {reason}\n" for reason in reasons.values()), sep="", end="", file=sys.stderr)
        if good is not None:
            print(f"Going on from {good[0]}.", file=sys.stderr)
        return good


def _whole(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """Return the optimizer of the states that this rank holds: under ZeRO-1, the one inside."""
    inner: torch.optim.Optimizer = optimizer.optim if isinstance(optimizer, ZeroRedundancyOptimizer) else optimizer
    return inner
