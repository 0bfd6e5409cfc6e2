"""The store: a scope for each `init`, values that are not trusted, and a thread that can be left behind."""
