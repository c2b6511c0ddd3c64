"""What follows: are the consequences of an edit there, too?"""
