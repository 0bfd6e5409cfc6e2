"""The variables that launchers set: rank, world size, hosts and job of this process, and where its ranks meet."""
