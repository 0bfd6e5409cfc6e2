"""ParallelContext: the process groups of this rank, by mode, as `init` returns them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Final

from pgregistry.errors import BuildError, ConfigError, did_you_mean
from pgregistry.planning.plans.dimensions import check_dimensions, root_dimensions
from pgregistry.planning.plans.plan import Plan
from pgregistry.runtime.contexts.device_mesh import Meshes
from pgregistry.runtime.contexts.handle import GroupHandle
from pgregistry.runtime.contexts.verification import verify_handle

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

    from pgregistry.building.process_groups import ProcessGroups
    from pgregistry.building.specs import Defaults


_CLOSED: Final = "The context is closed, so its process groups are destroyed."


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
        self._handles: Mapping[str, GroupHandle] = {
            mode.name: GroupHandle(
                mode.name, index, ranks, ranks.index(rank), process_groups.groups, process_groups.companions
            )
            for mode in plan.planned
            if (ranks := mode.groups.group_of(rank)) is not None and (index := mode.groups.index_of(rank)) is not None
        }
        self._meshes = Meshes(plan, rank, self._handles)

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
            raise BuildError(_CLOSED)
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

    def device_mesh(self, /, *modes: str, **names: str) -> DeviceMesh:
        """Return a torch DeviceMesh with these modes as its dimensions, over their process groups.

        It is a slice of a root mesh over all axes, and makes no process group. With tensor=2 on 8 ranks:

            context.device_mesh("data", "tensor").shape         # (4, 2)
            context.device_mesh(dp="data", tp="tensor")["dp"]   # a mesh of its own, with names of its own
            context.device_mesh()                               # the root: data, pipe, tensor

        Modes in nesting order are slices of one root, with dimensions of size 1 anywhere. Any other order has a root
        of its own. torch does not let DTensors of two roots, or of two sets of names, meet. Ask for one mesh, FSDP's
        dimension before that of tensor parallelism, and slice it.

        Args:
            modes: Modes, as dimensions of their own names.
            names: Modes by the names of their dimensions, which come after those of `modes`.

        Raises:
            ConfigError: if there is no such mode, one is named twice or spans no mesh (its groups are listed, partial
                or ragged), two share an axis, a name is that of another mode, or no modes make up the rest of the
                mesh.
            BuildError: if this rank is in no group of a mode, or the context is closed.
        """
        if self._closed:
            raise BuildError(_CLOSED)
        asked = check_dimensions(self.plan, modes, names)
        dimensions = root_dimensions(self.plan, asked)
        for mode in dimensions.values():
            _ = self[mode]
        root = self._meshes.root(dimensions)
        return root[tuple(asked)] if asked else root

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
        with self._meshes.closing():
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
