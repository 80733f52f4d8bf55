"""Operators of the networks: compiled ones (`compiled`) and their versions of MXNet's own operators."""
