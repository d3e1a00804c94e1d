"""`wardround simulate`: options, progress on the terminal, and the table at the end."""
