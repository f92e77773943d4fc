"""Files that are whole and hold what they should, folders that one process at a time writes to."""
