"""Where labelled images come from: TFDS by name, a folder per class, records, what is drawn."""
