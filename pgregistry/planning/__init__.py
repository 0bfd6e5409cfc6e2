"""Settings and modes to a plan; imports no torch."""
