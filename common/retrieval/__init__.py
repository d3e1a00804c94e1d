"""Exact search over a gallery, and metrics of it."""
