"""What a hidden state should be to give the target: the search for values."""
