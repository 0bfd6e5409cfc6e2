"""The five hooks that a plugin can implement; each is optional, all arguments are by name.

A hook may leave out arguments that it does not need. `pgregistry.hookimpl` marks an
implementation; a marked function whose name is none of these is an error, not a silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

import pluggy

if TYPE_CHECKING:
    import click

    from pgregistry.planning.plans.plan import Plan
    from pgregistry.runtime.context import ParallelContext
    from pgregistry.vocabulary import Mode

PROJECT: Final = "pgregistry"
hookspec: Final = pluggy.HookspecMarker(PROJECT)
hookimpl: Final = pluggy.HookimplMarker(PROJECT)


@hookspec
def pgregistry_modes() -> Iterable[Mode]:  # type: ignore[empty-body]
    """Declare the modes of this plugin: each yielded `Mode` initializes one family of groups.

    Called once for every plan, on every rank and in tools that have no ranks at all. Must
    yield the same modes everywhere; it is given neither rank nor sizes, so it can.

        @hookimpl
        def pgregistry_modes():
            yield Mode("context", over=Axis("context", inside=("data", "pipe"), outside="tensor"))
    """


@hookspec
def pgregistry_check(plan: Plan) -> Iterable[str]:  # type: ignore[empty-body]
    """Yield one sentence for each reason why a plan cannot work; nothing has been created yet.

    Called once for every plan, on every rank, after all groups are known. All sentences of
    all plugins make one `ConfigError`.

        @hookimpl
        def pgregistry_check(plan):
            if plan.sizes["context"] > 8:
                yield f"context = {plan.sizes['context']} is more than the kernels support (8)."

    Args:
        plan: All modes with their groups, and `plan.sizes`.
    """


@hookspec
def pgregistry_process_group_options(mode: str, backend: str | None) -> Mapping[str, object] | None:
    """Return backend options for the process groups of one mode, or None to say nothing.

    Called for every mode of a plan, on every rank. The options are part of the plan's
    fingerprint. Two plugins that answer for one mode are an error.

        @hookimpl
        def pgregistry_process_group_options(mode, backend):
            if mode == "context" and backend == "nccl":
                return {"is_high_priority_stream": True}

    Args:
        mode: The mode's name.
        backend: The torch backend of its process groups; None where the plan is made without
            a run (`pgregistry plan`) and the mode names none.
    """


@hookspec
def pgregistry_ready(context: ParallelContext) -> None:
    """Do what must be done once, when all process groups exist.

    Called on every rank at the end of `init()`, plugin by plugin in the order in which their
    modes were built, so collectives are safe here.

        @hookimpl
        def pgregistry_ready(context):
            torch.distributed.barrier(context["context"].group)

    Args:
        context: What `init()` is about to return.
    """


@hookspec
def pgregistry_commands(cli: click.Group) -> None:
    """Add commands to the command line `pgregistry`.

    Called once when the command line starts, in the one process that runs it. A plugin that
    fails here costs one line in `--help`, nothing more.

        @hookimpl
        def pgregistry_commands(cli):
            @cli.command()
            def context():
                "Say how long a sequence fits."

    Args:
        cli: The click group to add to.
    """
