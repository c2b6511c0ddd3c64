"""Portability: does the model also know the consequences of an edit?"""
