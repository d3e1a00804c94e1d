"""From what an attack found to an epsilon that it shows, each bound with the confidence that it holds."""
