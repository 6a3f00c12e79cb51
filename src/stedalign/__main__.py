"""``python -m stedalign``: the command line."""

from stedalign.cli.main import main

# The other processes of a training import this module again.
if __name__ == "__main__":
    main()
