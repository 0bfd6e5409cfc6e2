"""Tables of a plan."""
