"""A plan as data: its modes, its JSON document, and how two plans differ."""
