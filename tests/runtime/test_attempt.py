"""Planning on a rank of a world, and the hooks that are called when all is built."""

import os
from typing import Any

import pytest
from ranks import alive, run_ranks

import pgregistry
from pgregistry import Axis, ConfigError, Mode, Setting, hookimpl


def refuse_bad_sizes() -> Any:
    import torch.distributed as dist

    with pytest.raises(ConfigError) as raised:
        pgregistry.init(tensor=3)
    return str(raised.value).splitlines()[0], dist.is_initialized()


def test_sizes_that_cannot_work_are_refused_before_a_world_is_started() -> None:
    assert run_ranks(2, refuse_bad_sizes, world=False) == [("tensor = 3 does not divide world size 2.", False)] * 2


class Ring:
    """A plugin that is not installed, with one setting."""

    @hookimpl
    def pgregistry_settings(self) -> list[Setting]:
        return [Setting("kernel", "safe", choices=("fast", "safe"))]

    @hookimpl
    def pgregistry_modes(self) -> list[Mode]:
        return [Mode("ring", over=Axis("ring", inside="data"))]


def build_with_settings() -> Any:
    said = []
    for kernels in (("fast", "fast"), ("fast", "slow"), ("safe", "fast")):
        try:
            kernel = kernels[int(os.environ["RANK"])]
            with pgregistry.init(plugins=[Ring()], only=["data"], ring=2, kernel=kernel) as context:
                said.append((context.settings["kernel"], context.plan.origins["kernel"], context.defaults.timeout))
        except pgregistry.PgregistryError as error:
            said.append(type(error).__name__ + ": " + str(error))
    return said


def test_ranks_agree_on_settings_of_plugins_that_are_not_installed() -> None:
    env = {"PGREGISTRY_TIMEOUT": "55", "PGREGISTRY_BACKEND": "gloo"}
    answers = run_ranks(2, build_with_settings, world=False, env=env)
    wrong = "kernel = 'slow' (keyword) must be 'fast' or 'safe'. The default is 'safe' (setting 'kernel' of plugin "
    differ = "  setting kernel:\n    rank 0: 'safe' (keyword)\n    rank 1: 'fast' (keyword)"
    assert [built for built, _, _ in answers] == [("fast", "keyword", 55.0)] * 2
    assert wrong in answers[0][1]
    assert answers[0][1].startswith("PlanMismatch: ")
    assert answers[1][1].startswith(f"ConfigError: {wrong}")
    assert [text.partition("\n") for _, _, text in answers] == [
        ("PlanMismatch: The ranks disagree about what to build; nothing was created.", "\n", differ)
    ] * 2


READY = """
from pgregistry import Mode, WORLD, hookimpl

@hookimpl
def pgregistry_modes():
    yield Mode("%s", over=WORLD, after=%r)

@hookimpl
def pgregistry_ready(context):
    import os
    os.environ["SEEN"] = os.environ.get("SEEN", "") + f"%s on {context.rank} of {context['global'].size}; "
    if "%s" == os.environ.get("FAIL"):
        raise RuntimeError("no disk")
"""


def see_ready() -> Any:
    before = alive()
    try:
        with pgregistry.init(enable=["early", "late"]):
            return os.environ["SEEN"]
    except pgregistry.PgregistryError as error:
        return str(error), alive() == before


def ready_plugins(distribution: Any) -> None:
    for name, after in (("early", ("late",)), ("late", ())):
        source = READY % (name, after, name, name)
        entry = {name: f"pgregistry_{name}"}
        distribution(f"pgregistry-{name}", entry, {f"pgregistry_{name}.py": source}, version="1", optional=True)


def test_ready_is_called_on_every_rank_in_the_order_of_the_plan(distribution: Any) -> None:
    ready_plugins(distribution)
    assert run_ranks(2, see_ready) == ["late on 0 of 2; early on 0 of 2; ", "late on 1 of 2; early on 1 of 2; "]


def test_a_plugin_that_raises_in_ready_is_named_and_nothing_is_left(distribution: Any) -> None:
    ready_plugins(distribution)
    said = "plugin 'late', pgregistry-late 1 raised RuntimeError in pgregistry_ready: no disk"
    answers = run_ranks(2, see_ready, env={"FAIL": "late"})
    assert [clean for _, clean in answers] == [True, True]
    # The rank that fails first raises its own error; the other quotes it.
    quoted = [f"Rank {1 - rank} failed while process groups were built: PluginError: {said}" for rank in (0, 1)]
    assert [text.partition("\nTo run without it")[0] for text, _ in answers] in ([said, quoted[1]], [quoted[0], said])


def times_that_cannot_be() -> list[str]:
    said = []
    for name in ("agree_timeout", "build_timeout"):
        with pytest.raises(ConfigError) as raised:
            pgregistry.init(**{name: 0})
        said.append(str(raised.value))
    return said


def test_no_time_at_all_is_refused() -> None:
    (said,) = run_ranks(1, times_that_cannot_be)
    rule = "must be a number of seconds from 0.001 to 31622400."
    assert said == [f"{name}_timeout = 0 (keyword) {rule}" for name in ("agree", "build")]
