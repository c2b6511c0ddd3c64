"""What goes on in a model: its blocks, tokens, hidden states, and parts of it run by themselves."""
