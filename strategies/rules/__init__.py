"""The rules: each makes one update of a cohort, one file a rule."""
