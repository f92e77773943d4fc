"""Trained networks handed on: in the formats of those who serve them, with a model card."""
