"""Where code runs: in this process or on Ray, with the same results."""
