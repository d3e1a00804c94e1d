"""What a site can do wrong: one function an attack, around the site's own ClientApp."""
