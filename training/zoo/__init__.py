"""Published checkpoints: the table of them, and the cache that they are downloaded into."""
