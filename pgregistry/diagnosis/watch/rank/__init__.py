"""One rank, as the watch sees it: what is pending, what its threads do, and its answer to a roll call."""
