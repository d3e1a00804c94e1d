"""Attacks on the own pipeline: each claim of privacy beside what an attack, or arithmetic, shows of the code."""
