"""The studies of a simulated consortium: read, encoded, cut; and small hospitals merged into larger ones."""
