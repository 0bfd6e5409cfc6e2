"""Plain rows and cells as text and as HTML."""
