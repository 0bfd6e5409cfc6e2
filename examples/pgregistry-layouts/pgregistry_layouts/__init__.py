"""The groups of vLLM, nanotron, ColossalAI and accelerate, rank for rank: one module each."""
