"""Chapter 02: what is asked about losses."""
