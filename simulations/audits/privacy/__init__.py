"""Attacks on the own pipeline: each claim of privacy beside what an attack, or arithmetic, makes of the running code."""
