"""What a site measures of a model on its held-out patients, exact or noised."""
