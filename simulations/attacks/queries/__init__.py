"""Attacks on the mediator: words that ask for what nobody asked, models that obey them, endpoints that hurt."""
