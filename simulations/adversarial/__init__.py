"""Attacks on what a model finds: changed images and reports that look the same and are coded otherwise."""
