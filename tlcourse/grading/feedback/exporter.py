"""Our pages from ``nbgrader generate_feedback`` and formgrader's button.

In ``nbgrader_config.py``::

    c.GenerateFeedback.exporter_class = "tlcourse.grading.feedback.exporter.FeedbackExporter"
"""  # noqa: E501

from __future__ import annotations

from pathlib import Path
from typing import Any

from nbconvert.exporters import Exporter

from tlcourse.grading.book.courses import load_course
from tlcourse.grading.book.marks import MarksReader
from tlcourse.grading.feedback.writing import PageWriter, results_of


class FeedbackExporter(Exporter):
    """Takes the place of nbgrader's page, which prints hidden tests."""

    file_extension = ".html"
    output_mimetype = "text/html"

    def from_filename(
        self, filename: str, resources: dict[str, Any] | None = None, **_: Any
    ) -> tuple[str, dict[str, Any]]:
        """The page of one autograded notebook.

        Args:
            filename: where the notebook is.
            resources: nbgrader's, with the student, the assignment and the name.
        """
        resources = dict(resources or {})
        where = resources["nbgrader"]
        assignment, student = where["assignment"], where["student"]
        course = load_course(Path(self.parent.coursedir.root))
        with MarksReader(course, assignment) as reader:
            marks = reader.of(student)
            result = next(results_of(course, assignment, {student}, reader))
        pages = PageWriter(course, assignment).pages(result, marks)
        return pages[where["notebook"]], {**resources, "output_extension": ".html"}
