"""The coordinating centre: rounds, admission, checkpoints, the report."""
