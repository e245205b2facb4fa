"""What is asked: cases, and how a candidate is observed on them."""
