"""Installed plugins: discovery, loading, and calls of their hooks."""
