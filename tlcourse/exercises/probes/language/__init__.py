"""Chapter 05: what is asked about tokens, batches and language encoders."""
