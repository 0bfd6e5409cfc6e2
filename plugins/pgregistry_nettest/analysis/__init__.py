"""Find slow hosts and links from measured times alone: pure Python, no torch, no store."""
