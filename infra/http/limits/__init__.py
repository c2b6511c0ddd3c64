"""How often a host may be asked: its turns, its robots.txt, and what is known of it so far."""
