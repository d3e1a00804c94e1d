"""The stages before a rule: each replaces the updates by combinations of them, one file a stage."""
