"""Noise that cancels between two sites: its law, who shares it, and the keys that it comes from."""
