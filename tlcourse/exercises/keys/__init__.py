"""What is right: references, tolerances, and the mistakes that have a name."""
