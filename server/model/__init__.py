"""The model of a run that has ended, taken out of its folder as a thing of its own."""
