"""What holds: does the model say, and prefer, what was edited?"""
