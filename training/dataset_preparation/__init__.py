"""Datasets written once in the size that training crops from, and their pixel statistics."""
