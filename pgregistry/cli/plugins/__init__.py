"""Commands about plugins: those that are installed, and a new one."""
