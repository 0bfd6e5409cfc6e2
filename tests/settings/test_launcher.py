"""Which launcher's variables say which rank this process is."""

import pytest

from pgregistry import ConfigError
from pgregistry.settings.launcher import read, rendezvous_advice, world_size

SLURM = {"SLURM_PROCID": "5", "SLURM_NTASKS": "16", "SLURM_LOCALID": "1", "SLURM_NTASKS_PER_NODE": "4"}
OPEN_MPI = {
    "OMPI_COMM_WORLD_RANK": "5",
    "OMPI_COMM_WORLD_SIZE": "16",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "4",
}
MPICH = {"PMI_RANK": "5", "PMI_SIZE": "16", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "4"}
TORCHRUN = {"RANK": "5", "WORLD_SIZE": "16", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}


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


def test_torchrun_under_slurm_is_torchrun() -> None:
    launch = read(SLURM | TORCHRUN | {"RANK": "7"})
    assert launch is not None
    assert (launch.launcher, launch.rank) == ("torchrun", 7)


def test_a_world_size_without_a_rank_is_a_world_but_no_place_in_it() -> None:
    assert (read({"WORLD_SIZE": "8"}), world_size({"WORLD_SIZE": "8"})) == (None, 8)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"RANK": "x"}, "RANK='x' in the environment is not a whole number from 0."),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE='0' in the environment is not a whole number from 1."),
        ({"RANK": "16"}, "RANK=16 is out of range for WORLD_SIZE=16 (set by torchrun)."),
        ({"LOCAL_WORLD_SIZE": "4(x2)"}, "LOCAL_WORLD_SIZE='4(x2)' in the environment is not a whole number from 1."),
    ],
)
def test_a_malformed_variable_is_named(wrong: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read(TORCHRUN | wrong)
    assert str(raised.value) == said


def test_a_launcher_that_does_not_say_where_rank_0_is_gets_the_lines_to_add() -> None:
    launch = read(SLURM)
    assert launch is not None
    assert rendezvous_advice(launch, {"MASTER_ADDR": "host0", "MASTER_PORT": "29500"}) is None
    assert rendezvous_advice(launch, SLURM) == (
        "MASTER_ADDR and MASTER_PORT must say where rank 0 is (Slurm does not): export MASTER_PORT=29500 "
        'MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)'
    )
