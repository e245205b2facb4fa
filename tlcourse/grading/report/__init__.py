"""What a teacher reads after grading: what needs a person, the class, the items."""

from tlcourse.grading.report.page import write_report

__all__ = ["write_report"]
