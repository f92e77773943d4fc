"""What a run leaves on disk: describing, finding and restoring it."""
