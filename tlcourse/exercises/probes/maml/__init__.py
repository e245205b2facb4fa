"""Chapter 11: what is asked about learning to adapt by gradient steps."""
