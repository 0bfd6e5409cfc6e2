"""The function `init`; torch is imported when it is called."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pgregistry.runtime.contexts.context import ParallelContext
from pgregistry.settings.options import split_parameters
from pgregistry.vocabulary import Mode

if TYPE_CHECKING:
    import torch


def init(
    *,
    order: Sequence[str] | None = None,
    enable: Sequence[str] = (),
    disable: Sequence[str] = (),
    only: Sequence[str] | None = None,
    config: str | None = None,
    extra: Iterable[Mode] = (),
    within: Iterable[int] | None = None,
    ranks_per_host: int | None = None,
    hosts: Iterable[Iterable[int]] | str | None = None,
    hosts_per_domain: int | None = None,
    require: Sequence[str] = (),
    backend: str | None = None,
    device: torch.device | str | int | None = None,
    timeout: float | None = None,
    cpu: bool = False,
    agree_timeout: float = 300,
    build_timeout: float = 300,
    **sizes: Any,
) -> ParallelContext:
    """Make the process groups of every mode, on every rank of the world.

    Starts the default process group from the launcher's environment (torchrun, Slurm, MPI), or uses
    the existing one.

        with pgregistry.init(tensor=2, pipe=2) as context:
            dist.all_reduce(x, group=context["tensor"].group)

    Args:
        order: As for `plan`, like all up to `require`, and the sizes.
        enable: Plugins to switch on.
        disable: Plugins to leave out.
        only: The plugins to use, and no others.
        config: A TOML file with the same names.
        extra: Modes that no plugin declares.
        within: Ranks that the plan lives on.
        ranks_per_host: The number of ranks on one host.
        hosts: The ranks of each host.
        hosts_per_domain: The number of hosts in one domain.
        require: Distributions that must be installed.
        backend: The torch backend of modes that name none. None is that of the accelerator, or gloo without one.
        device: Bind the default process group to this device (torch's `device_id`).
        timeout: The timeout of process groups whose mode gives none, in seconds.
        cpu: Give every mode a gloo process group beside one of another backend.
        agree_timeout: How long ranks may take to come, in seconds.
        build_timeout: How long the build may take, in seconds.
        **sizes: Sizes by name, as `tensor=2`.

    Raises:
        ConfigError: if the sizes, names or files given cannot work.
        PluginError: if a plugin fails.
        PlanMismatch: if the ranks disagree about the plan, or one does not come.
        BuildError: if torch could not make a process group.
    """
    from pgregistry.runtime.initialize import initialize
    from pgregistry.runtime.process import InitOptions

    keywords, options = split_parameters(locals())
    return initialize(keywords, InitOptions(**options))
