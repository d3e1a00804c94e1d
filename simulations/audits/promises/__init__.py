"""An auditor's path: each promise of the README held against a run folder and what hospitals hand over."""
