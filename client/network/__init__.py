"""How a hospital reaches the consortium's server: directly, or through its own proxy."""
