"""``python -m stedalign``: the command line."""

from stedalign.cli.main import main

main()
