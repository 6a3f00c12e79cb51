"""The setup: everything about one microscope, from one TOML file."""

from stedalign.config.setup import Setup, SetupError

__all__ = ["Setup", "SetupError"]
