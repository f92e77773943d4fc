"""Computes a dataset's mean, mean image and principal components. `--help` lists the flags."""

from training import command_line
from training.statistics_pass import compute_statistics
from training.tool_configuration import StatisticsConfig


def main() -> None:
    """Runs the driver."""
    command_line.run(StatisticsConfig, compute_statistics)


if __name__ == "__main__":
    main()
