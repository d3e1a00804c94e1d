"""Who is served worse: groups, their statistics, and intervals."""
