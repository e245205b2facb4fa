"""Chapter 07: what is asked about adaptation without target labels."""
