"""Chapter 09: what is asked about contrastive learning."""
