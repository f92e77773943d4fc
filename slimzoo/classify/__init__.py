"""The parts of `classify_images`: what files are meant, and what becomes of the answers."""
