"""What `init()` returns: the process groups of this rank, by mode, and how to be rid of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from types import TracebackType

from torch.distributed.device_mesh import DeviceMesh

from pgregistry.building.build import Built, undo
from pgregistry.building.specs import Defaults
from pgregistry.errors import BuildError, ConfigError, did_you_mean
from pgregistry.planning.plans.plan import Plan
from pgregistry.runtime import device_mesh as meshes
from pgregistry.runtime.handle import Handle


class ParallelContext:
    """The process groups of a run on this rank; made by `init`, best used with `with`.

    Attributes:
        plan: What was built, as data.
        rank: This rank.
        built: The process groups of this rank, and how long it took to make them.
        defaults: What the run says for modes that say nothing.
    """

    def __init__(self, plan: Plan, rank: int, built: Built, defaults: Defaults) -> None:
        self.plan = plan
        self.rank = rank
        self.built = built
        self.defaults = defaults
        self._closed = False
        self._roots: dict[tuple[str, ...], DeviceMesh] = {}
        self._handles: Mapping[str, Handle] = {name: self._handle(name) for name in built.groups}

    def _handle(self, name: str) -> Handle:
        mode = self.plan[name]
        ranks, index = mode.groups.group_of(self.rank), mode.groups.index_of(self.rank)
        if ranks is None or index is None:
            raise BuildError(f"rank {self.rank} has a process group of mode {name!r}, but no group in the plan.")
        return Handle(name, index, ranks, ranks.index(self.rank), self.built.groups, self.built.companions)

    def __getitem__(self, mode: str) -> Handle:
        """The group of a mode that this rank is in.

        Raises:
            ConfigError: if there is no such mode.
            BuildError: if this rank is in no group of it, or the context is closed.
        """
        handle = self.get(mode)
        if handle is None:
            raise BuildError(
                f"Rank {self.rank} is in no group of mode {mode!r}; context.get({mode!r}) is None on such a rank."
            )
        return handle

    def get(self, mode: str) -> Handle | None:
        """The group of a mode that this rank is in, or None on a rank that is in none.

        Raises:
            ConfigError: if there is no such mode, so that a typo is never taken for None.
            BuildError: if the context is closed.
        """
        if mode not in self.plan:
            raise ConfigError(f"There is no mode {mode!r}. {did_you_mean(str(mode), self.plan.modes)}")
        if self._closed:
            raise BuildError("The context is closed; its process groups are destroyed.")
        return self._handles.get(mode)

    def seed(self, mode: str, *, base: int) -> int:
        """A seed for random numbers: equal on ranks at one position of the mode, different along it.

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
        """A torch DeviceMesh with these modes as its dimensions, over the process groups that they have.

        It is a slice of one root mesh over all axes, so slices of it can be flattened, and
        `device_mesh("data")` and `device_mesh("tensor")` belong to one mesh.

        Raises:
            ConfigError: if a mode spans no mesh (its groups are listed, partial or ragged), two share
                an axis, or no modes make up the rest of the mesh.
            BuildError: if this rank is in no group of a mode, or the context is closed.
        """
        for name in modes:
            _ = self[name]
        if not modes:
            raise ConfigError(f"device_mesh() needs the names of modes, such as {', '.join(self.plan.order)}.")
        names = meshes.root_modes(self.plan, modes)
        ascending = tuple(name for name in names if name in modes)
        if ascending != modes:
            raise ConfigError(f"torch slices a mesh outermost first: say device_mesh{ascending!r}, not {modes!r}.")
        if names not in self._roots:
            self._roots[names] = meshes.make_root(self.plan, names, self._handles, self.rank)
        return self._roots[names][modes]

    def close(self) -> None:
        """Destroy exactly the process groups that `init` made; a second call does nothing."""
        self._end(abort=False)

    def _end(self, *, abort: bool) -> None:
        if self._closed:
            return
        self._closed = True
        self._roots.clear()
        undo(self.built, abort=abort)

    def __enter__(self) -> ParallelContext:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Where the body raised, other ranks may be waiting in a collective: do not join them.
        self._end(abort=kind is not None)

    def __repr__(self) -> str:
        return f"<ParallelContext of rank {self.rank} of {self.plan.world_size}: {', '.join(self.plan.modes)}>"
