"""Commands that prove something with processes: a build, or a plugin."""
