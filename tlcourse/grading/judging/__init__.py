"""Say what a notebook that was run has earned, and why."""
