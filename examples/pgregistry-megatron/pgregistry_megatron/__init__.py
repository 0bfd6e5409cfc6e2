"""Megatron-Core's process groups, rank for rank: modes to enable beside others, and its own `plan`."""

from pgregistry_megatron.arguments import plan
from pgregistry_megatron.groups import modes, pgregistry_check, pgregistry_modes

__all__ = ["modes", "pgregistry_check", "pgregistry_modes", "plan"]
