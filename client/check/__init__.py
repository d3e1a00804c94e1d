"""Before a run: a hospital's data, what its policy says of the run, what it would spend. Nothing is written."""
