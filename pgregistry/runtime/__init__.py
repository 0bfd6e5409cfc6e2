"""`init()` and what it returns."""
