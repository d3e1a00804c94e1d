"""A site's ledger as anyone can check it: its entries, their chain and signatures, and what they add up to."""
