"""Evaluates a trained image classifier. `--help` lists the flags; README.md has examples."""

from training import command_line
from training.configuration import EvaluationConfig
from training.evaluation import evaluate


def main() -> None:
    """Runs the driver."""
    command_line.run(EvaluationConfig, evaluate)


if __name__ == "__main__":
    main()
