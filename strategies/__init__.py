"""Aggregation: pure functions from the sites' updates to one update; one file a rule."""
