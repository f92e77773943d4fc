"""Training, evaluation and export of any registered network on any dataset."""

import nets  # noqa: F401 (before Keras is imported: it says so if Keras runs on another backend)
