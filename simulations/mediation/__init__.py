"""How well words become plans: queries with their right plans, and what a proposer makes of them."""
