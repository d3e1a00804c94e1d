"""Local training, and the rule that chooses its private settings on public studies."""
