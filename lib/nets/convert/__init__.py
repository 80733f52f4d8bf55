"""Converts weights of other frameworks and projects to the parameters of our networks."""
