"""How the server applies the aggregated update: pure functions with an explicit state; one file a kind."""
