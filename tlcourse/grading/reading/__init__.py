"""Read what was handed in, and put its answers into the teacher's notebook."""
