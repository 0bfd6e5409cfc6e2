"""The context that `init()` returns, and the handles in it."""
