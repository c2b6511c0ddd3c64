"""Efficacy: does the model generate, and prefer, the target of an edit?"""
