"""Ways to bound one patient's gradient, one file a way; all give the same sum."""
