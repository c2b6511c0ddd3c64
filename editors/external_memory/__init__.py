"""Methods that leave the weights alone and keep edits beside the model: GRACE's codebook."""
