"""The run's configuration: its schema, how a file and overrides become one, and the registries its names point at."""
