"""Updates that attackers make from the honest updates of a round: pure functions, one file an attack."""
