"""The variables of each launcher, and the address at which ranks meet."""

import pytest

import pgregistry
from pgregistry import ConfigError
from pgregistry.settings.launcher import alone, local_rank, read, rendezvous_address, world_size

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


WHERE = {"MASTER_ADDR": "host0", "MASTER_PORT": "29500"}


def rendezvous(environ: dict[str, str]) -> tuple[str, int]:
    launch = read(environ)
    assert launch is not None
    return rendezvous_address(launch, environ)


def refused(environ: dict[str, str]) -> str:
    with pytest.raises(ConfigError) as raised:
        rendezvous(environ)
    return str(raised.value)


@pytest.mark.parametrize("environ", [SLURM, OPEN_MPI, MPICH, TORCHRUN])
def test_ranks_meet_at_master_addr_and_master_port(environ: dict[str, str]) -> None:
    assert rendezvous(environ | WHERE) == ("host0", 29500)


def test_an_address_that_no_launcher_sets_is_an_error_with_the_line_to_add() -> None:
    assert refused(SLURM) == (
        "MASTER_ADDR and MASTER_PORT (environment) must be the address of rank 0 on every rank; Slurm does not set "
        "them. Set both:\n"
        '  export MASTER_PORT=29500 MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)'
    )
    assert refused(MPICH | {"MASTER_ADDR": "host0"}) == (
        "MASTER_PORT (environment) must be the address of rank 0 on every rank; MPICH does not set it. Set both:\n"
        "  export MASTER_PORT=29500 MASTER_ADDR=host0"
    )


def test_torchrun_is_not_blamed_for_variables_that_were_set_without_it() -> None:
    assert refused(TORCHRUN) == (
        "MASTER_ADDR and MASTER_PORT (environment) must be the address of rank 0 on every rank; RANK and WORLD_SIZE "
        "are set without them. Set both:\n"
        "  export MASTER_PORT=29500 MASTER_ADDR=host0"
    )


@pytest.mark.parametrize("port", ["abc", "99999999", "65536", "-1", "0", "9" * 5000, "٢٩٥"])
def test_a_port_that_cannot_be_one_is_an_error_that_names_the_variable(port: str) -> None:
    text = refused(TORCHRUN | WHERE | {"MASTER_PORT": port})
    assert text.startswith("MASTER_PORT = '")
    assert text.endswith(" (environment) must be a whole number from 1 to 65535.")


def test_a_rank_alone_may_take_any_free_port() -> None:
    alone = {"RANK": "0", "WORLD_SIZE": "1"}
    assert rendezvous(alone | WHERE | {"MASTER_PORT": "0"}) == ("host0", 0)


def test_init_names_a_port_that_cannot_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (TORCHRUN | WHERE | {"MASTER_PORT": "99999999"}).items():
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


def test_the_local_rank_in_a_world_that_exists_is_the_launchers_if_the_ranks_are() -> None:
    assert local_rank(TORCHRUN, 5, 16) == 1
    assert local_rank(TORCHRUN, 5, 8) is None
    assert local_rank({}, 0, 1) is None
    assert local_rank(TORCHRUN | {"RANK": "x"}, 5, 16) is None
