"""A hospital's prepared studies: read, decoded and encoded once, before a run asks for them."""
