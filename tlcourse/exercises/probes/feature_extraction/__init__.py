"""Chapter 03: what is asked about frozen features and heads."""
