"""Chapter 04: what is right about fine-tuning, and the mistakes that have names."""
