"""Chapter 01: what is asked about scenarios, learning curves and transferability."""
