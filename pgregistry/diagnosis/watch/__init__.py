"""The watch: ranks of an open context find out together who holds up the run."""
