"""Adapters from a folder of one known layout to studies; one file a layout."""
