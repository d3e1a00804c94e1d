"""The same server and sites on Flower's own simulation: `flwr run .`, and Ray."""
