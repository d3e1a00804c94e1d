"""What was spent of a hospital's patients: the ledger, on the disk before any noise is drawn."""
