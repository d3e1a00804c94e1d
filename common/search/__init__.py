"""Searching over hospitals: what a question says, and what is answered."""
