"""nbgrader: the sources are in solutions/, everything it makes is in classroom/."""

from tlcourse.authoring.release import RELEASE

c = get_config()  # noqa: F821
c.CourseDirectory.course_id = "transfer_learning"
c.CourseDirectory.source_directory = "solutions"
for room in ("release", "submitted", "autograded", "feedback", "solution"):
    setattr(c.CourseDirectory, f"{room}_directory", f"classroom/{room}")
c.ZipCollectApp.downloaded_directory = "classroom/downloaded"
c.CourseDirectory.db_url = "sqlite:///classroom/gradebook.db"
c.GenerateAssignment.preprocessors = RELEASE
# No learner's script runs in formgrader: neither in outputs, nor in text, which its
# templates show unsanitized.
c.HTMLExporter.sanitize_html = True
c.HTMLExporter.filters = {
    "markdown2html": "tlcourse.grading.feedback.cleaning.safe_markdown"
}
# Without this, formgrader would print hidden tests into feedback.
c.GenerateFeedback.exporter_class = (
    "tlcourse.grading.feedback.exporter.FeedbackExporter"
)
