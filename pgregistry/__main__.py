"""Run the command line: `python -m pgregistry`."""

from pgregistry.cli import main

if __name__ == "__main__":
    main()
