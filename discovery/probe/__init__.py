"""Stage 4, probe: changes -> which may be acted on, and what the model believes of them."""
