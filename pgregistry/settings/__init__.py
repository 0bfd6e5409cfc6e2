"""Keywords, command line, environment and file, merged."""
