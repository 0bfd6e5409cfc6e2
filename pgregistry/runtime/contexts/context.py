"""ParallelContext: the process groups of this rank, by mode, as `init` returns them."""

from __future__ import annotations

import atexit
import hashlib
import sys
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

from pgregistry.errors import BuildError, ConfigError
from pgregistry.planning.plans.dimensions import check_dimensions, root_dimensions
from pgregistry.planning.plans.plan import Plan
from pgregistry.runtime.contexts.device_mesh import Meshes, sliced
from pgregistry.runtime.contexts.handle_mapping import HandleMapping
from pgregistry.runtime.contexts.open_contexts import OPEN
from pgregistry.runtime.contexts.timeouts import set_timeouts
from pgregistry.runtime.contexts.verification import verify_handle
from pgregistry.values import check_timeout, shown, whole_number

if TYPE_CHECKING:
    import torch
    from torch.distributed.device_mesh import DeviceMesh

    from pgregistry.building.process_groups import ProcessGroups
    from pgregistry.building.specs import Defaults
    from pgregistry.registry.manager import Registry


class ParallelContext(HandleMapping):
    """The process groups of a run on this rank: a mapping of the modes in which it has a group, in plan order.

    `init` makes it. Use it in a `with` statement, or close it; else it is closed when the process exits.

        with pgregistry.init(tensor=2, pipe=2) as context:
            dist.all_reduce(x, group=context["tensor"].group)

    A child that is forked while a context is open can read it, but the process groups stay with the parent.

    Attributes:
        plan: The plan that was built.
        rank: This rank.
        local_rank: Its rank among those of its host, or None if nobody set it.
        device: The device of this rank: the accelerator, or the CPU without one.
        process_groups: The torch process groups of this rank, and the time that each mode took.
        defaults: The run's settings for modes that have none.
    """

    def __init__(
        self,
        plan: Plan,
        rank: int,
        process_groups: ProcessGroups,
        defaults: Defaults,
        *,
        device: torch.device,
        local_rank: int | None = None,
        registry: Registry,
    ) -> None:
        super().__init__(plan, rank, process_groups, registry)
        self.local_rank = local_rank
        self.device = device
        self.defaults = defaults
        self._meshes = Meshes(plan, rank, self._handles)
        OPEN.add(self)
        atexit.register(self._close_at_exit)

    @property
    def world_size(self) -> int:
        """Return the number of ranks in the world, those outside of `within` too."""
        return self.plan.world_size

    @property
    def sizes(self) -> dict[str, int]:
        """Return the size of every axis and named part: `plan.sizes`."""
        return self.plan.sizes

    @property
    def settings(self) -> dict[str, Any]:
        """Return the value of every setting that plugins declare: `plan.settings`."""
        return self.plan.settings

    def seed(self, *modes: str, base: int) -> int:
        """Return a seed for random numbers: equal on ranks at one position of these modes, different along them.

        With tensor=2, ranks 0 2 4 6 share one seed of "tensor" and ranks 1 3 5 7 another, so slices of a layer differ
        and copies of a slice do not. Without modes the seed is that of all ranks.

        The modes m₁ m₂ … in alphabetical order, with positions p₁ p₂ … and largest groups of n₁ n₂ … ranks, have the
        seed (h + (p₁·n₂ + p₂)·n₃ + …) mod 2³². The number h is the first four bytes of the BLAKE2b digest (of four
        bytes, most significant first) of the text "base/m₁/m₂/…".

        Args:
            modes: The modes along which seeds differ, in any order.
            base: The seed of the run.

        Returns:
            A number from 0 to 2³² - 1, which torch, numpy and random all take.

        Raises:
            ConfigError: if there is no such mode, or `base` is no whole number.
            BuildError: if this rank is in no group of a mode, or the context is closed.
        """
        number, position = whole_number(base), 0
        if number is None:
            raise ConfigError(f"seed() has base={shown(base)}; it must be a whole number.")
        handles = sorted({self[mode] for mode in modes}, key=lambda handle: handle.mode)
        for handle in handles:
            position = position * max(self.plan[handle.mode].groups.sizes()) + handle.rank
        text = "/".join([str(number), *(handle.mode for handle in handles)])
        first = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big")
        return (first + position) % 2**32

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
        self._check_usable()
        for mode in (*modes, *names.values()):
            if mode not in self.plan:
                raise self._absent.error(mode)
        asked = check_dimensions(self.plan, modes, names)
        dimensions = root_dimensions(self.plan, asked)
        for mode in dimensions.values():
            _ = self[mode]
        root = self._meshes.root(dimensions)
        return sliced(root, tuple(asked)) if asked else root

    def set_timeout(self, seconds: float, *modes: str) -> None:
        """Set the timeout of all process groups, or of those of some modes; all ranks must call it together.

        A first step that compiles takes long, and later ones do not. Gloo companions have the new timeout too, and so
        has every mode that shares one of these process groups. A world that `init` found keeps its own.

        Args:
            seconds: The timeout of collectives that begin later.
            modes: Modes. A rank without a group of one skips it.

        Raises:
            ConfigError: if `seconds` is not a timeout, or nobody knows a mode.
            BuildError: if another rank does not come in time, a backend cannot change its timeout, or the context is
                closed.
        """
        self._check_usable()
        checked = check_timeout(seconds, "set_timeout()", "seconds", error=ConfigError)
        if checked is None:
            raise ConfigError("set_timeout() has seconds=None; it must be a number of seconds.")
        for mode in modes:
            self.get(mode)
        set_timeouts(self.process_groups.made_for(modes), checked)
        for watch in self.process_groups.watches:
            watch.limit(checked)

    def verify(self) -> None:
        """Verify every process group that this rank is in with a collective; all ranks must call it together.

        Each member contributes a number that only it can make. A process group that is connected to
        other ranks, or that belongs to another mode, gives other numbers. Those of torch's backend "fake", which
        communicates with nobody, are left out.

        Raises:
            BuildError: naming the mode, the group and the first rank whose number is wrong, or if the
                context is closed.
        """
        self._check_usable()
        for mode, handle in self._handles.items():
            verify_handle(handle, self.process_groups.companions.get(mode), self.plan.fingerprint)

    def as_current(self) -> AbstractContextManager[ParallelContext]:
        """Make this context the one of `pgregistry.current()` in a `with` body, here and in autograd's threads.

        Raises:
            BuildError: if the context is closed.
        """
        self._check_open()
        return OPEN.chosen(self)

    def close(self, *, abort: bool = False) -> None:
        """Destroy exactly the process groups that `init` made. A second call finishes one that was interrupted.

        A world that `init` started lives on if another context is open in it, and ends with the last one; an abort
        ends it at once. A forked child destroys nothing.

        Args:
            abort: Do not wait for collectives that are under way.

        Raises:
            BuildError: if a process group could not be destroyed, after all were tried.
        """
        if self.process_groups.state == "forked":
            return
        OPEN.remove(self)
        atexit.unregister(self._close_at_exit)
        if not abort and (heir := OPEN.current()) is not None:
            self.process_groups.leave_world_to(heir.process_groups)
        with self._meshes.closing():
            self.process_groups.close(abort=abort)

    def _close_at_exit(self) -> None:
        """Close the context when the process exits: threads of gloo that still run then would abort the process."""
        self.close(abort=hasattr(sys, "last_type"))  # Python sets it when it prints an uncaught exception

    def _check_usable(self) -> None:
        self._check_open()
        if self.process_groups.state == "forked":
            raise BuildError(
                "This process was forked from the one that has the process groups of the context, and cannot use them. "
                "Make collectives in the parent."
            )

    def __enter__(self) -> ParallelContext:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # If the body raised, other ranks may be waiting in a collective: do not wait for them.
        self.close(abort=kind is not None)

    def __copy__(self) -> ParallelContext:
        return self

    def __deepcopy__(self, _: dict[int, object]) -> ParallelContext:
        return self

    def __reduce__(self) -> NoReturn:
        raise ConfigError(
            "A context cannot be pickled, for its process groups belong to this process. Pickle its handles, which "
            "look their groups up where they are loaded, or context.plan.to_json()."
        )

    def __repr__(self) -> str:
        closed = "closed " * (self.process_groups.state == "closed")
        return f"<{closed}ParallelContext of rank {self.rank} of {self.plan.world_size}: {', '.join(self.plan.modes)}>"


def current() -> ParallelContext:
    """Return the current context: the last that was opened and is not closed, for code deep inside a layer.

    It is that of the whole process, autograd's threads too. `with context.as_current():` chooses another one.

    Raises:
        ConfigError: if no context is open.
    """
    context: ParallelContext | None = OPEN.current()
    if context is None:
        raise ConfigError(
            "No context is open in this process. Call pgregistry.init() before current(), and close the context after."
        )
    return context
