"""nbgrader's own side: its course, its gradebook, its folders, its exports."""
