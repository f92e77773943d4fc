"""Evaluates a trained image classifier. `--help` lists the flags; README.md has examples."""

from slimzoo import program
from slimzoo.configuration import EvaluationConfig
from training.evaluation import evaluate


def main() -> None:
    """Runs the driver."""
    program.run(EvaluationConfig, evaluate)


if __name__ == "__main__":
    main()
