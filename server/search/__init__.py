"""Searching over all hospitals: takes a question, passes it on to the others, and merges what they answer."""
