"""The address at which ranks meet."""

import pytest
from launcher_environments import MPICH, OPEN_MPI, SLURM, TORCHRUN, recorded

from pgregistry import ConfigError
from pgregistry.settings.launchers.address import check_address, rendezvous_address
from pgregistry.settings.launchers.launcher import read

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


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("[::1]", "::1"),
        ("[fd00::7]:29500", "fd00::7"),
        ("tcp://10.0.0.1:80", "10.0.0.1"),
        ("host0:29500", "host0"),
        ("http://host0/", "host0"),
        (" host0", "host0"),
        ("10.0.0.300", None),
        ("host 0", None),
        ("fe80::zz", None),
        ("a..b", None),
        ("x" * 64, None),
        ("host\0", None),
    ],
)
def test_an_address_that_cannot_be_one_is_refused_with_what_was_meant(wrong: str, meant: str | None) -> None:
    text = refused(TORCHRUN | WHERE | {"MASTER_ADDR": wrong})
    assert text.startswith("MASTER_ADDR = ")
    assert text.endswith(
        f" Did you mean {meant!r}?" if meant else "without brackets, scheme or port (that is MASTER_PORT)."
    )


@pytest.mark.parametrize(
    "address", ["::1", "fe80::1%eth0", "10.0.0.1", "node_1.rack-2.", "localhost", "trainer-0.job.ns"]
)
def test_an_address_that_can_be_one_is_taken(address: str) -> None:
    assert check_address(address) == address


def test_srun_needs_no_address() -> None:
    places = {rendezvous(recorded(f"srun.{rank}")) for rank in range(3)}
    assert places == {("n1", 20031)}
    other_step = recorded("srun.0") | {"SLURM_STEP_ID": "1"}
    assert rendezvous(other_step) == ("n1", 20032)
    assert rendezvous(recorded("srun.0") | {"MASTER_PORT": "29500"}) == ("n1", 29500)
    assert rendezvous(recorded("srun.0") | {"MASTER_ADDR": "n7"}) == ("n7", 20031)
    by_hand = {"RANK": "1", "WORLD_SIZE": "3"}
    assert rendezvous(recorded("srun.1") | by_hand) == ("n1", 20031)


def test_mpirun_on_one_host_needs_no_address() -> None:
    (place,) = {rendezvous(recorded(f"openmpi-in-salloc.{rank}")) for rank in range(4)}
    assert place[0] == "127.0.0.1"
    other = rendezvous(recorded("openmpi-in-salloc.0") | {"PMIX_NAMESPACE": "another"})
    assert other[0] == place[0]
    assert other[1] != place[1]


def test_mpirun_on_several_hosts_of_slurm_meets_on_the_first() -> None:
    environ = recorded("openmpi-in-salloc.0") | {"OMPI_COMM_WORLD_LOCAL_SIZE": "2", "SLURM_JOB_NODELIST": "n[3-4]"}
    assert rendezvous(environ)[0] == "n3"


@pytest.mark.parametrize(
    ("listed", "first"),
    [("n[01-10,12]", "n01"), ("a7,b[1-2]", "a7"), ("r[1,3]c[2-4]-x,login", "r1c2-x"), ("n1", "n1")],
)
def test_the_first_host_of_a_list(listed: str, first: str) -> None:
    assert rendezvous(recorded("srun.0") | {"SLURM_STEP_NODELIST": listed})[0] == first
