"""Operators of the networks: C++ and CUDA sources, their build, and numpy functions for training."""
