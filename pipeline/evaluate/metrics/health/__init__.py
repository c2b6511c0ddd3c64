"""What it cost: general text, free text, the weights themselves."""
