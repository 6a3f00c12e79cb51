"""The command line: one sub-command per job, heavy imports inside the command."""
