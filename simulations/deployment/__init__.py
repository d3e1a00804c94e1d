"""A real deployment on one machine: server and hospitals as separate processes."""
