"""Chapter 10: what is right, and the mistakes that have a name."""
