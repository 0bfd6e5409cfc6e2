"""The variables of each launcher."""

import pytest
from launcher_environments import KUBEFLOW, MPICH, OPEN_MPI, SLURM, TORCHRUN, recorded

import pgregistry
from pgregistry import ConfigError
from pgregistry.settings.launchers.address import rendezvous_address
from pgregistry.settings.launchers.launcher import alone, of_world, read, world_size


@pytest.mark.parametrize(
    ("launcher", "environ"),
    [("torchrun", TORCHRUN), ("Slurm", SLURM), ("Open MPI", OPEN_MPI), ("MPICH", MPICH)],
)
def test_every_launcher_says_the_same_in_its_own_words(launcher: str, environ: dict[str, str]) -> None:
    launch = read(environ)
    assert launch is not None
    assert (launch.launcher, launch.rank, launch.world_size) == (launcher, 5, 16)
    assert (launch.local_rank, launch.ranks_per_host) == (1, 4)
    assert world_size(environ) == 16


def test_kubeflow_sets_what_torch_reads_but_not_the_hosts() -> None:
    launch = read(KUBEFLOW)
    assert launch is not None
    assert (launch.rank, launch.world_size, launch.local_rank, launch.ranks_per_host) == (3, 4, None, None)
    assert rendezvous_address(launch, KUBEFLOW) == ("job-master-0", 23456)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *((f"srun.{rank}", ("Slurm", rank, 3, rank % 2, None, "Slurm job 1, step 0")) for rank in range(3)),
        *(
            (f"openmpi-in-salloc.{rank}", ("Open MPI", rank, 4, rank, 4, "MPI job 798031873 of Slurm job 3"))
            for rank in range(4)
        ),
        ("mpich.1", ("MPICH", 1, 2, 1, 2, "")),
    ],
)
def test_recorded_environments(name: str, expected: tuple[object, ...]) -> None:
    launch = read(recorded(name))
    assert launch is not None
    found = (launch.launcher, launch.rank, launch.world_size, launch.local_rank, launch.ranks_per_host, launch.job)
    assert found == expected
    assert launch.hosts == (((0, 1), (2,)) if name.startswith("srun") else None)


@pytest.mark.parametrize(
    "environ",
    [
        recorded("sbatch-without-srun"),
        recorded("sbatch-without-srun") | {"MASTER_ADDR": "n1", "MASTER_PORT": "29500"},
        recorded("sbatch-without-srun") | {"SLURM_STEP_ID": "4294967290"},  # the shell of salloc
        recorded("srun.0") | {"SLURM_PTY_PORT": "40000"},
        {"SLURM_PROCID": "0", "SLURM_NTASKS": "4"},
    ],
)
def test_a_script_for_which_srun_was_forgotten_is_refused(environ: dict[str, str]) -> None:
    with pytest.raises(
        ConfigError, match=r"^SLURM_NTASKS = \d \(environment\) must be .*\n  Start it with srun: srun "
    ):
        read(environ)
    assert world_size(environ) in (3, 4)  # a plan can be looked at
    assert read(environ | {"SLURM_NTASKS": "1"}) is not None
    assert read(environ | TORCHRUN) is not None


def test_mpirun_inside_slurm_is_mpirun_whose_daemons_slurm_started() -> None:
    for rank in range(4):
        of_daemon = SLURM | {"SLURM_PROCID": str(rank // 2), "SLURM_NTASKS": "2", "SLURM_STEP_ID": "0"}
        mine = OPEN_MPI | {"OMPI_COMM_WORLD_RANK": str(rank), "OMPI_COMM_WORLD_SIZE": "4"}
        launch = read(of_daemon | mine)
        assert launch is not None
        assert (launch.launcher, launch.rank, launch.world_size) == ("Open MPI", rank, 4)
        assert launch.beside == (f"Slurm has rank {rank // 2} of 2",)


def test_what_a_launcher_leaves_out_is_taken_from_another_with_the_same_rank_and_world() -> None:
    launch = read(SLURM | {"SLURM_JOB_ID": "7", "SLURM_NODEID": "1", "RANK": "5", "WORLD_SIZE": "16"})
    assert launch is not None
    assert (launch.local_rank, launch.ranks_per_host, launch.node, launch.job) == (1, 4, "1", "Slurm job 7")
    other = read(SLURM | {"SLURM_PROCID": "6", "SLURM_LOCALID": "2", "RANK": "5", "WORLD_SIZE": "16"})
    assert other is not None
    assert (other.local_rank, other.ranks_per_host) == (None, None)


def test_variables_set_by_hand_that_contradict_a_launcher_are_refused_with_both() -> None:
    with pytest.raises(ConfigError) as raised:
        read(OPEN_MPI | {"RANK": "0", "WORLD_SIZE": "1"})
    assert str(raised.value) == (
        "RANK = 0 and WORLD_SIZE = 1 (environment) must not contradict OMPI_COMM_WORLD_RANK = 5 and "
        "OMPI_COMM_WORLD_SIZE = 16, which Open MPI set.\n"
        "  unset RANK WORLD_SIZE to take those of Open MPI, or unset OMPI_COMM_WORLD_RANK OMPI_COMM_WORLD_SIZE."
    )
    ray = read(
        OPEN_MPI | {"RANK": "0", "WORLD_SIZE": "3", "LOCAL_RANK": "0"}
    )  # what Open MPI started has ranks of its own
    assert ray is not None


@pytest.mark.parametrize(
    ("counts", "each", "hosts"),
    [
        ("8(x2)", 8, None),
        ("16", 16, None),
        ("6,2(x5)", None, ((0, 1, 2, 3, 4, 5), (6, 7), (8, 9), (10, 11), (12, 13), (14, 15))),
        ("4(x2)", 4, None),  # not of this world: the number that was asked for
        ("9(x99999999999)", 4, None),
        ("", 4, None),
    ],
)
def test_slurm_says_how_many_tasks_each_host_has(counts: str, each: int | None, hosts: object) -> None:
    launch = read(SLURM | {"SLURM_STEP_TASKS_PER_NODE": counts})
    assert launch is not None
    assert (launch.ranks_per_host, launch.hosts) == (each, hosts)


def test_a_plan_for_the_world_of_the_launcher_knows_its_unequal_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in recorded("srun.2").items():
        monkeypatch.setenv(name, value)
    assert pgregistry.plan(3).hosts == ((0, 1), (2,))
    assert pgregistry.plan(4).hosts is None
    assert pgregistry.plan(3, hosts="0;1-2").hosts == ((0,), (1, 2))
    assert pgregistry.plan(3, ranks_per_host=3).ranks_per_host == 3


def test_torchrun_under_slurm_is_torchrun() -> None:
    launch = read(SLURM | TORCHRUN | {"RANK": "7"})
    assert launch is not None
    assert (launch.launcher, launch.rank) == ("torchrun", 7)


def test_a_world_size_without_a_rank_is_a_world_but_no_place_in_it() -> None:
    assert (read({"WORLD_SIZE": "8"}), world_size({"WORLD_SIZE": "8"})) == (None, 8)


LARGEST = 1 << 40


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"RANK": "x"}, f"RANK = 'x' (environment) must be a whole number from 0 to {LARGEST}."),
        ({"WORLD_SIZE": "0"}, f"WORLD_SIZE = '0' (environment) must be a whole number from 1 to {LARGEST}."),
        ({"RANK": "16"}, "RANK = 16 (environment) must be below WORLD_SIZE = 16."),
        (
            {"LOCAL_WORLD_SIZE": "4(x2)"},
            f"LOCAL_WORLD_SIZE = '4(x2)' (environment) must be a whole number from 1 to {LARGEST}.",
        ),
        (
            {"WORLD_SIZE": "9" * 5000},
            f"WORLD_SIZE = '{'9' * 39}… (5002 characters) (environment) must be a whole number from 1 to {LARGEST}.",
        ),
    ],
)
def test_a_malformed_variable_is_named(wrong: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read(TORCHRUN | wrong)
    assert str(raised.value) == said


def test_init_names_a_port_that_cannot_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (TORCHRUN | {"MASTER_ADDR": "host0", "MASTER_PORT": "99999999"}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as raised:
        pgregistry.init()
    assert str(raised.value) == "MASTER_PORT = '99999999' (environment) must be a whole number from 1 to 65535."


@pytest.mark.parametrize("environ", [{}, {"SLURM_NTASKS": "1"}, {"RANK": ""}])
def test_a_process_whose_launcher_is_not_there_is_alone(environ: dict[str, str]) -> None:
    launch = alone(environ)
    assert (launch.rank, launch.world_size, launch.local_rank) == (0, 1, 0)


@pytest.mark.parametrize("environ", [{"WORLD_SIZE": "8"}, {"RANK": "0"}, {"SLURM_NTASKS": "8"}, {"PMI_SIZE": "2"}])
def test_half_of_a_launchers_variables_is_refused_by_name(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as raised:
        alone(environ)
    first, second = str(raised.value).splitlines()
    assert first.startswith(f"{next(iter(environ))} (environment) must be set together with the other variables of a ")
    assert second.endswith(f"or unset {next(iter(environ))} for a world of 1.")


def local(environ: dict[str, str], rank: int, size: int) -> int | None:
    launch = of_world(environ, rank, size)
    return launch.local_rank if launch else None


def test_the_local_rank_in_a_world_that_exists_is_the_launchers_if_the_ranks_are() -> None:
    assert local(TORCHRUN, 5, 16) == 1
    assert local(TORCHRUN, 5, 8) is None
    assert local({}, 0, 1) is None
    assert local(TORCHRUN | {"RANK": "x"}, 5, 16) is None
