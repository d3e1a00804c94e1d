"""What may leave a hospital: the gate around its app, and the recorder of what passed it."""
