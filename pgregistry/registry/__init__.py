"""Which plugins are installed, which are on, and what they answer."""
