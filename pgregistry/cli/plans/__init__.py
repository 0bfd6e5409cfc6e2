"""Commands about plans: what a run would build, and how two plans differ."""
