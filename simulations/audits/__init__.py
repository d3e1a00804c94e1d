"""Audits that need the synthetic cohort's truth: its images drawn again with one thing changed."""
