"""Who is served how well, of what a run released: tables by group, gaps, gains, the release gate, in words too."""
