"""Other people's unsupervised cross-modal codes, written from their papers, for `wardround bench codes`."""
