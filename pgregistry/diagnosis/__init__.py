"""From flight records to the rank that holds up the run."""
