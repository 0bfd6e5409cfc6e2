"""Variables of launchers: made up ones, and those that processes of real ones had."""

from pathlib import Path

RECORDED = Path(__file__).parents[1] / "settings" / "launchers" / "recorded"

SLURM = {"SLURM_PROCID": "5", "SLURM_NTASKS": "16", "SLURM_LOCALID": "1", "SLURM_NTASKS_PER_NODE": "4"}
OPEN_MPI = {
    "OMPI_COMM_WORLD_RANK": "5",
    "OMPI_COMM_WORLD_SIZE": "16",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "4",
}
MPICH = {"PMI_RANK": "5", "PMI_SIZE": "16", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "4"}
TORCHRUN = {"RANK": "5", "WORLD_SIZE": "16", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
#: A pod of Kubeflow's PyTorchJob, by its documentation: a rank of its own. The manifest of a JobSet sets the same.
KUBEFLOW = {
    "MASTER_ADDR": "job-master-0",
    "MASTER_PORT": "23456",
    "WORLD_SIZE": "4",
    "RANK": "3",
    "PET_NNODES": "4",
    "PET_NODE_RANK": "3",
}


def recorded(name: str) -> dict[str, str]:
    """Return the variables of a process that a real launcher started."""
    text = (RECORDED / f"{name}.env").read_text(encoding="utf-8")
    return dict(line.split("=", 1) for line in text.splitlines())
