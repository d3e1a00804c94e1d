"""Making and running a consortium's server."""
