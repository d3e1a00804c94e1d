"""What `wardround simulate` runs: one federation, the baselines, the grid of attacks."""
