"""Losses of image-report pairs; one file a loss, and the objective that joins them."""
