"""What only a simulation can measure: one gallery of all sites, and whether a backdoor works."""
