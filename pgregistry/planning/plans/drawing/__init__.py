"""A plan as a picture: a page to explore, and a still picture."""
