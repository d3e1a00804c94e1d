"""A hospital's search as a page on its own machine: words or a picture in, studies with picture and report out."""
