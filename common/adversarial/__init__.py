"""Studies that are changed against their own codes, to train on and to attack with."""
