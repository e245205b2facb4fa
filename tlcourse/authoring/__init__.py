"""From the text that people edit to the notebooks that people open."""
