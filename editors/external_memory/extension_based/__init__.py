"""Methods that extend a module by parameters of its own: GRACE's codebook."""
