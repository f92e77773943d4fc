"""Training, evaluation and export of any registered network on any dataset."""
