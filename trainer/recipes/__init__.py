"""Recipes: the comparisons and models of the documentation, as programs that anyone can run again.

Each goes on where it ended, so it can run in pieces.
"""
