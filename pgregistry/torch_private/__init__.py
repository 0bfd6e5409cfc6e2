"""Every private torch call."""
