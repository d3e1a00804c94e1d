"""One federation over a consortium's studies: its sites, their ledgers, the runtime that calls them here."""
