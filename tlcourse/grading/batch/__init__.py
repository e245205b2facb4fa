"""A whole class: what is done is kept, the rest is spread over workers."""
