"""Files that are there whole or not at all, and folders that one process writes to at a time."""
