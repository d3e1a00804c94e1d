"""Search in a hospital: its index, and what it answers others."""
