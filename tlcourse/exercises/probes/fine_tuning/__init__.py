"""Chapter 04: what is asked about fine-tuning."""
