"""ParallelContext: the process groups of this rank, by mode, as `init` returns them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING

from pgregistry.errors import BuildError, ConfigError, did_you_mean
from pgregistry.planning.plans.plan import Plan
from pgregistry.runtime import device_mesh
from pgregistry.runtime.handle import GroupHandle, verify_handle

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

    from pgregistry.building.process_groups import ProcessGroups
    from pgregistry.building.specs import Defaults


class ParallelContext:
    """The process groups of a run on this rank. `init` makes it; use it in a `with` statement, or close it.

        with pgregistry.init(tensor=2, pipe=2) as context:
            dist.all_reduce(x, group=context["tensor"].group)

    Attributes:
        plan: The plan that was built.
        rank: This rank.
        process_groups: The torch process groups of this rank, and the time that each mode took.
        defaults: The run's settings for modes that have none.
    """

    def __init__(self, plan: Plan, rank: int, process_groups: ProcessGroups, defaults: Defaults) -> None:
        self.plan = plan
        self.rank = rank
        self.process_groups = process_groups
        self.defaults = defaults
        self._closed = False
        self._roots: dict[tuple[str, ...], DeviceMesh] = {}
        self._handles: Mapping[str, GroupHandle] = {
            mode.name: GroupHandle(
                mode.name, index, ranks, ranks.index(rank), process_groups.groups, process_groups.companions
            )
            for mode in plan.planned
            if (ranks := mode.groups.group_of(rank)) is not None and (index := mode.groups.index_of(rank)) is not None
        }

    def __getitem__(self, mode: str) -> GroupHandle:
        """Return this rank's group of a mode.

        Raises:
            ConfigError: if there is no such mode.
            BuildError: if this rank is in no group of it, or the context is closed.
        """
        handle = self.get(mode)
        if handle is None:
            raise BuildError(
                f"Rank {self.rank} is in no group of mode {mode!r}. On such a rank context.get({mode!r}) returns None."
            )
        return handle

    def get(self, mode: str) -> GroupHandle | None:
        """Return this rank's group of a mode, or None on a rank that is in no group of it.

        With pipe=4 and a mode "edges" over pipe at positions 0 and -1, `get("edges")` is None on
        ranks 1 and 2.

        Raises:
            ConfigError: if there is no such mode, so that a misspelt name is never taken for None.
            BuildError: if the context is closed.
        """
        if mode not in self.plan:
            raise ConfigError(f"There is no mode {mode!r}. {did_you_mean(str(mode), self.plan.modes)}")
        if self._closed:
            raise BuildError("The context is closed, so its process groups are destroyed.")
        return self._handles.get(mode)

    def seed(self, mode: str, *, base: int) -> int:
        """Return a seed for random numbers: equal on ranks at one position of the mode, different along it.

        With tensor=2, ranks 0 2 4 6 share one seed of "tensor" and ranks 1 3 5 7 another, so
        slices of a layer differ and copies of a slice do not. Seeds of two modes differ.

        Args:
            mode: The mode along which seeds differ.
            base: The seed of the run.

        Returns:
            A number from 0 to 2³² - 1, which torch, numpy and random all take.

        Raises:
            ConfigError: if there is no such mode.
            BuildError: if this rank is in no group of it.
        """
        digest = hashlib.blake2b(f"{base}/{mode}".encode(), digest_size=4).digest()
        return (int.from_bytes(digest, "big") + self[mode].rank) % 2**32

    def device_mesh(self, *modes: str) -> DeviceMesh:
        """Return a torch DeviceMesh with these modes as its dimensions, over their process groups.

        It is a slice of one root mesh over all axes. Slices of it can therefore be flattened, and
        `device_mesh("data")` and `device_mesh("tensor")` belong to one mesh. With tensor=2 on 8 ranks
        `device_mesh("data", "tensor")` has shape (4, 2).

        Raises:
            ConfigError: if a mode spans no mesh (its groups are listed, partial or ragged), two share
                an axis, or no modes make up the rest of the mesh.
            BuildError: if this rank is in no group of a mode, or the context is closed.
        """
        for name in modes:
            _ = self[name]
        if not modes:
            raise ConfigError(f"device_mesh() must be given names of modes, such as {', '.join(self.plan.order)}.")
        names = device_mesh.root_modes(self.plan, modes)
        ascending = tuple(name for name in names if name in modes)
        if ascending != modes:
            raise ConfigError(
                f"device_mesh{modes!r} must name modes outermost first, as torch slices a mesh. "
                f"Use device_mesh{ascending!r}."
            )
        if names not in self._roots:
            self._roots[names] = device_mesh.make_root(self.plan, names, self._handles, self.rank)
        return self._roots[names][modes]

    def verify(self) -> None:
        """Verify every process group that this rank is in with a collective; all ranks must call it together.

        Each member contributes a number that only it can make. A process group that is connected to
        other ranks, or that belongs to another mode, gives other numbers.

        Raises:
            BuildError: naming the mode, the group and the first rank whose number is wrong, or if the
                context is closed.
        """
        for name in self.plan.modes:
            if handle := self.get(name):
                verify_handle(handle, self.process_groups.companions.get(name), self.plan.fingerprint)

    def close(self) -> None:
        """Destroy exactly the process groups that `init` made. A second call finishes one that was interrupted."""
        self._end(abort=False)

    def _end(self, *, abort: bool) -> None:
        self._closed = True
        self._roots.clear()
        self.process_groups.close(abort=abort)

    def __enter__(self) -> ParallelContext:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # If the body raised, other ranks may be waiting in a collective: do not wait for them.
        self._end(abort=kind is not None)

    def __repr__(self) -> str:
        return f"<ParallelContext of rank {self.rank} of {self.plan.world_size}: {', '.join(self.plan.modes)}>"
