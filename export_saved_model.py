"""Exports a trained image classifier as a SavedModel. `--help` lists the flags."""

from slimzoo import program
from slimzoo.configuration import ExportConfig
from training.export import export


def main() -> None:
    """Runs the driver."""
    program.run(ExportConfig, export)


if __name__ == "__main__":
    main()
