"""From a clinician's words to a plan of what to look for, in the hospital that asks."""
