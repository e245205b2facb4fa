"""A teacher marks by hand: formgrader in a real browser, on what the kit has graded.

Needs chromium, as ``test_browser`` does; pictures go to the same folder.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbconvert.exporters import HTMLExporter
from nbgrader.api import Gradebook
from nbgrader.server_extensions.formgrader import handlers
from test_browser import CHROMIUM, ROOT, _wait_for, browser, picture

from tlcourse.grading.assigning.making import assign
from tlcourse.grading.batch import session
from tlcourse.grading.batch.options import Options
from tlcourse.grading.book.courses import load_course
from tlcourse.sandbox.isolation import NoIsolation, find_isolation

__all__ = ["browser"]  # a fixture
CHECK, QUESTION = "start_here-accuracy", "losses-why"
HALF = """def accuracy(logits, targets):
    return (logits.argmax(dim=1) == targets).float().mean()"""
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9"
    "awAAAABJRU5ErkJggg=="
)
HOSTILE = """**Hold labels out.** <script>alert("script")</script>
<img src=x onerror='alert("picture")'> <a href="javascript:alert(1)">a link</a>"""

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course with one submission, graded."""
    try:
        find_isolation()
    except NoIsolation as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("course")
    for name in ("nbgrader_config.py", "course.toml"):
        shutil.copy(ROOT / name, folder)
    source = assign(folder, "hw1", ["start_here.accuracy", QUESTION], seed=1)
    notebook = nbformat.read(source, as_version=4)
    for cell in notebook.cells:
        name = cell.metadata.get("nbgrader", {}).get("grade_id")
        answers = {f"{CHECK}-answer": HALF, QUESTION: HOSTILE}
        cell.source = answers.get(name, cell.source)
    place = folder / "classroom" / "submitted" / "ada" / "hw1" / source.name
    place.parent.mkdir(parents=True)
    nbformat.write(notebook, place)
    session.grade(folder, "hw1", Options())
    return folder


@pytest.fixture(scope="module")
def lab(course):
    """JupyterLab in the course folder, as the guide starts it; gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "JUPYTER_CONFIG_DIR": str(course / "config"),
        "JUPYTER_TOKEN": "t",
        "PATH": str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"],
    }
    words = ["lab", "--no-browser", "--port", str(port)]
    with open(course / "log", "w", encoding="utf-8") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "tlcourse", *words],
            cwd=course,
            env={**os.environ, **settings},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{address}/api?token=t", server, course / "log")
        yield address
    finally:
        server.terminate()
        server.wait(20)


def marks(course):
    """(points, of them by hand, waiting) of each graded cell, and the comment."""
    with Gradebook(f"sqlite:///{course}/classroom/gradebook.db") as book:
        notebook = book.find_submission_notebook("exercises", "hw1", "ada")
        grades = {
            g.name: (g.score, g.manual_score, bool(g.needs_manual_grade))
            for g in notebook.grades
        }
        comment = book.find_comment(QUESTION, "exercises", "hw1", "ada").comment
    return grades, comment


def score(page, name):
    """Where formgrader shows, and takes, the points of one cell."""
    with_name = page.locator(".nbgrader_cell", has_text=name)
    answer = page.locator(".nbgrader_cell", has_text="Hold labels out")
    return (answer if name == QUESTION else with_name).locator("input.score")


def enter(page, field, text):
    """Type into a field of formgrader; ends when the server has it."""
    field.fill(text)
    with page.expect_response(lambda r: r.request.method == "PUT" and r.ok):
        field.press("Tab")


def test_formgraders_own_template_shows_no_script(tmp_path):
    """As formgrader sets its exporter up, from the course's configuration."""
    cell = nbformat.v4.new_markdown_cell(f"{HOSTILE} ![](attachment:a.png) $a < b$")
    cell.attachments = {"a.png": {"image/png": PIXEL}}
    cell.metadata.nbgrader = {
        "grade_id": "why",
        "solution": True,
        "grade": True,
        "points": 1,
    }
    config = load_course(ROOT).parent.config.copy()
    config.HTMLExporter.template_name = "formgrade"
    config.HTMLExporter.extra_template_basedirs = [handlers.template_path]
    exporter = HTMLExporter(config=config)
    resources = dict.fromkeys(("base_url", "notebook_id", "submission_id"), "")
    resources |= {"index": 0, "total": 1, "mathjax_url": "", "assignment_id": ""}
    notebook = nbformat.v4.new_notebook(cells=[cell])
    page, _ = exporter.from_notebook_node(notebook, resources)
    answer = page.split("Hold labels out.")[1].split("panel-footer")[0]
    assert not re.search("<script|onerror|javascript:", answer)
    assert f'src="data:image/png;base64,{PIXEL}"' in answer
    assert "$a &lt; b$" in answer


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_what_a_person_marks_in_formgrader_arrives_and_stays(browser, course, lab):
    page, alerts = browser.new_page(viewport={"width": 1280, "height": 1400}), []
    page.on("dialog", lambda box: (alerts.append(box.message), box.dismiss()))
    page.goto(f"{lab}/api?token=t")  # logs in
    before, _ = marks(course)
    assert before[QUESTION] == (0.0, None, True)
    earned = before[CHECK][0]

    page.goto(f"{lab}/formgrader/gradebook/hw1/exercises")
    page.locator("tbody a").first.click()
    page.wait_for_load_state("networkidle")  # points and comments are fetched apart
    assert score(page, CHECK).get_attribute("placeholder") == f"{earned:g}"
    picture(page, "formgrader-before")

    enter(page, score(page, QUESTION), "2")
    enter(page, page.locator(".nbgrader_cell textarea").last, "Say **how**.")
    enter(page, score(page, CHECK), "1.5")
    picture(page, "formgrader-marked")
    by_hand = {CHECK: (1.5, 1.5, False), QUESTION: (2.0, 2.0, False)}
    assert marks(course) == (by_hand, "Say **how**.")

    session.grade(course, "hw1", Options(regrade=True))
    assert marks(course) == (by_hand, "Say **how**.")
    page.reload()
    page.wait_for_load_state("networkidle")
    assert score(page, QUESTION).input_value() == "2"
    assert not alerts, "a learner's script ran in formgrader"
    assert page.locator("[onerror], a[href^=javascript]").count() == 0
