"""The run configurations: one base, one file a model, one file a scenario."""
