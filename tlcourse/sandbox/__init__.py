"""Warm, isolated Jupyter kernels: fork them from a server that has torch loaded."""
