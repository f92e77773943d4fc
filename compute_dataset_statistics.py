"""Computes a dataset's mean, mean image and principal components. `--help` lists the flags."""

from slimzoo import program
from slimzoo.commands.compute_dataset_statistics import compute_statistics
from slimzoo.tool_configuration import StatisticsConfig


def main() -> None:
    """Runs the driver."""
    program.run(StatisticsConfig, compute_statistics)


if __name__ == "__main__":
    main()
