"""Searching over a simulation's hospitals: the run's model, and each hospital's answer as a deployment gives it."""
