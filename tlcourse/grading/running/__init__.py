"""Run a notebook in an isolated kernel that may be hostile."""
