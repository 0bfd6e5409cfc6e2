"""The function `init`; torch is imported when it is called."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pgregistry.errors import ConfigError, PlanMismatch, need
from pgregistry.settings.options import keywords
from pgregistry.vocabulary import Mode

if TYPE_CHECKING:
    import torch

    from pgregistry.planning.plans.plan import Plan
    from pgregistry.runtime.contexts.context import ParallelContext


def init(
    *,
    order: Sequence[str] | None = None,
    enable: Sequence[str] = (),
    disable: Sequence[str] = (),
    only: Sequence[str] | None = None,
    plugins: Iterable[object] = (),
    config: str | None = None,
    extra: Iterable[Mode] = (),
    within: Iterable[int] | str | None = None,
    ranks_per_host: int | None = None,
    hosts: Iterable[Iterable[int]] | str | None = None,
    hosts_per_domain: int | None = None,
    require: Sequence[str] = (),
    args: Sequence[str] = (),
    plan: Plan | None = None,
    expect: str | os.PathLike[str] | None = None,
    backend: str | None = None,
    device: torch.device | str | int | None = None,
    timeout: float | None = None,
    cpu: bool | None = None,
    agree_timeout: float | None = None,
    build_timeout: float | None = None,
    watch: float | None = None,
    watch_dir: str | os.PathLike[str] | None = None,
    **sizes_and_settings: Any,
) -> ParallelContext:
    """Make the process groups of every mode, on every rank of the world.

    Starts the default process group from the launcher's environment (torchrun, Slurm, MPI), or uses
    the existing one.

        with pgregistry.init(tensor=2, pipe=2) as context:
            dist.all_reduce(x, group=context["tensor"].group)

    Args:
        order: As for `plan`, like all up to `require`, and the sizes and settings.
        enable: Plugins to switch on.
        disable: Plugins to leave out.
        only: The plugins to use, and no others.
        plugins: Plugins that are not installed.
        config: A TOML file with the same names.
        extra: Modes that no plugin declares.
        within: Ranks that the plan lives on.
        ranks_per_host: The number of ranks on one host.
        hosts: The ranks of each host.
        hosts_per_domain: The number of hosts in one domain.
        require: Distributions that must be installed.
        args: Words as on the command line of pgregistry, such as `sys.argv[1:]`: tensor=2, --order data,tensor.
        plan: Build this plan, of `plan`, `plan_modes` or `Plan.from_json`. What shapes a plan comes with it: sizes,
            settings, order, switches and the like must not be given. The environment and a file are read for the
            parameters of the run alone.
        expect: The plan that it must be: its fingerprint, or the path of a file with its JSON.
        backend: The torch backend of modes that name none. None is that of the accelerator, or gloo without one.
        device: Bind the default process group to this device (torch's `device_id`).
        timeout: The timeout of process groups whose mode gives none, in seconds.
        cpu: Give every mode a gloo process group beside one of another backend; False by default.
        agree_timeout: How long ranks may take to come, in seconds; 300 by default.
        build_timeout: How long the build may take, in seconds; 300 by default.
        watch: A collective that is pending for so many seconds makes all ranks find out which rank holds up the run,
            and log it as an ERROR of the logger `pgregistry.watch`; 300 by default, 0 for none. It ends no run. A
            value above 2/3 of the shortest timeout is lowered to that.
        watch_dir: A folder in which each rank then also keeps its record, for `pgregistry diagnose`.
        **sizes_and_settings: Sizes and settings by name, as `tensor=2`.

    None stands for a value that the command line, the environment or a file may give.

    Raises:
        ConfigError: if the sizes, names or files given cannot work.
        PluginError: if a plugin fails.
        PlanMismatch: if the ranks disagree about the plan, or one does not come.
        BuildError: if torch could not make a process group.
    """
    given = keywords(locals())
    need("init()", "torch")
    from pgregistry.runtime.arguments import Arguments
    from pgregistry.runtime.initialize import initialize

    try:
        return initialize(Arguments(given, args, plan))
    except (ConfigError, PlanMismatch) as error:  # every rank writes it, and our frames say nothing about a value
        raise error.with_traceback(None) from error.__cause__
