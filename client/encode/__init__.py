"""A hospital's own images and texts turned into codes, by a model that was exported."""
