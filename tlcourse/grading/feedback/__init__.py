"""What a learner reads after grading: one page for each notebook, safe to open."""

from tlcourse.grading.feedback.writing import write_feedback

__all__ = ["write_feedback"]
