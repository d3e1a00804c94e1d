"""A hospital's index: codes of its own studies behind opaque handles, searched where the studies lie."""
