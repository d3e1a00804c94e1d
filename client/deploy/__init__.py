"""Joining a consortium, and running a site in it."""
