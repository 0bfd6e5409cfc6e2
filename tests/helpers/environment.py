"""The environment variables that change what pgregistry and torch do."""

from __future__ import annotations

import os

PREFIXES = (
    *("PGREGISTRY", "RANK", "WORLD_SIZE", "LOCAL_", "GROUP_RANK", "ROLE_", "MASTER_", "TORCHELASTIC_"),
    *("SLURM_", "OMPI_", "PMI_", "PMIX_", "MPI_", "NODE_RANK", "HYDRA_"),
)


def set_by_launchers() -> set[str]:
    """Return the variables that are set now by a launcher, or by a user of pgregistry."""
    return {name for name in os.environ if name.startswith(PREFIXES)}
