"""Privacy events, the accountant that turns them into epsilon, and the releases that carry them."""
