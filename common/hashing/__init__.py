"""Short binary codes: the head that makes them, their form, their distances."""
