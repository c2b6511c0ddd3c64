"""Relations: templates that put a fact into words, and labels that fit into them."""
