"""Chapter 06: what is asked about the distance between domains."""
