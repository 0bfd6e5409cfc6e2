"""The six hooks that a plugin can implement. Each is optional; arguments are passed by name.

An implementation may leave out arguments that it does not need. `pgregistry.hookimpl` marks it. A
marked function whose name is not a hook is an error, and so are two functions for one hook.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

import pluggy

if TYPE_CHECKING:
    import click

    from pgregistry.planning.plans.plan import Plan
    from pgregistry.runtime.contexts.context import ParallelContext
    from pgregistry.vocabulary import Mode, Setting

PROJECT: Final = "pgregistry"
hookspec: Final = pluggy.HookspecMarker(PROJECT)
hookimpl: Final = pluggy.HookimplMarker(PROJECT)


@hookspec
def pgregistry_modes() -> Iterable[Mode]:  # type: ignore[empty-body]
    """Declare the modes of this plugin: each yielded `Mode` initializes one family of groups.

    Called once for every plan, on every rank and in tools that run on none. It must yield the same
    modes everywhere. That is why it gets neither rank nor sizes.

        @hookimpl
        def pgregistry_modes():
            yield Mode("sequence", over=Axis("sequence", inside=("data", "pipe"), outside="tensor"))
    """


@hookspec
def pgregistry_settings() -> Iterable[Setting]:  # type: ignore[empty-body]
    """Declare the settings of this plugin: values that are not sizes, which users give as they give sizes.

    Called once for every plan, on every rank and in tools that run on none, before `pgregistry_modes`. It
    must yield the same settings everywhere. Ranks agree on the values, which the fingerprint covers.

        @hookimpl
        def pgregistry_settings():
            yield Setting("ring_backend", "safe", choices=("fast", "safe"), help="The kernels of ring attention.")
    """


@hookspec
def pgregistry_check(plan: Plan) -> Iterable[str]:  # type: ignore[empty-body]
    """Yield one sentence for each reason why a plan cannot work, before anything is created.

    Called once for every plan, on every rank, when all groups are known. The sentences of all
    plugins make one `ConfigError`.

        @hookimpl
        def pgregistry_check(plan):
            if plan.sizes["sequence"] > 8:
                yield f"sequence = {plan.sizes['sequence']} is more than the kernels support (8)."

    Args:
        plan: All modes with their groups, and `plan.sizes`.
    """


@hookspec
def pgregistry_process_group_options(mode: str, backend: str | None) -> Mapping[str, object] | None:
    """Return backend options for the process groups of one mode, or None for none.

    Called for every mode of a plan, on every rank. They replace those of `Mode(options=)`, and a
    run's replace them, key by key. Ranks agree on them, but the fingerprint does not cover them,
    since they depend on the backend. Options for one mode from two plugins are an error.

        @hookimpl
        def pgregistry_process_group_options(mode, backend):
            if mode == "sequence" and backend == "nccl":
                return {"is_high_priority_stream": True}

    Args:
        mode: The mode's name.
        backend: The torch backend of its process groups. None if the mode names none and the
            plan is made without a run (`pgregistry plan`).
    """


@hookspec
def pgregistry_ready(context: ParallelContext) -> None:
    """Do once what needs the process groups, when all of them exist.

    Called on every rank at the end of `init()`, plugin by plugin in the order in which their
    modes were built. So collectives are safe here.

        @hookimpl
        def pgregistry_ready(context):
            torch.distributed.barrier(context["sequence"].group)

    Args:
        context: The context that `init()` returns.
    """


@hookspec
def pgregistry_commands(cli: click.Group) -> None:
    """Add commands to the command line `pgregistry`.

    Called once, in the process of the command line, for `--help` or a command that is not built in. If
    a plugin fails here, `--help` has one more line, and nothing else changes.

        @hookimpl
        def pgregistry_commands(cli):
            @cli.command()
            def longest():
                "Print the longest sequence that fits."

    Args:
        cli: The click group to add to.
    """
