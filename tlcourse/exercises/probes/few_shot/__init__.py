"""Chapter 10: what is asked about few-shot learning."""
