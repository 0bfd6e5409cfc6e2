"""The meeting of the ranks of a launch: the store of rank 0, which job it is of, and the way from host to host."""
