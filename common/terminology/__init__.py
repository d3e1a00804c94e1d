"""What clinicians' words mean: concepts of public code systems, what negates and doubts them, and acronyms."""
