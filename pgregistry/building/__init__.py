"""Torch process groups from an agreed plan."""
