"""What happens to an image between its file and the network; one module per pipeline."""
