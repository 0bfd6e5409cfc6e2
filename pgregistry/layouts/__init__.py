"""(size, stride) arithmetic and lazy groups."""
