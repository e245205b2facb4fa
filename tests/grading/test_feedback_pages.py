"""Feedback pages: what they say, what they never say, and that they are safe."""

import base64
import io
import json
import re
import shutil
import time
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from every_cell import NAME, make_course, make_result, source_one, without_alembic
from nbformat.v4 import (
    new_code_cell,
    new_markdown_cell,
    new_notebook,
    new_output,
)
from nbgrader.api import Gradebook
from nbgrader.converters import GenerateFeedback
from nbgrader.exchange.default import ExchangeReleaseFeedback
from nbgrader.utils import notebook_hash
from payloads import HOME, HTML, MARKDOWN, TEXT
from PIL import Image
from traitlets.config import Config

from tlcourse.exercises import get, judge
from tlcourse.grading.assigning.seeds import seeds_path
from tlcourse.grading.book.gradebook import Book
from tlcourse.grading.book.masters import load_assignment, load_course
from tlcourse.grading.feedback import write_feedback
from tlcourse.grading.feedback.cleaning import Budget, html, markdown, plain
from tlcourse.grading.journal import Journal
from tlcourse.grading.records import CellGrade, Flag, NotebookResult, Result

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
KIT = "losses.cross_entropy"


def picture(kind="PNG", size=(8, 8)):
    content = io.BytesIO()
    Image.new("RGB", size, "teal").save(content, format=kind)
    return base64.b64encode(content.getvalue()).decode()


def marked(name, points=None, **marks):
    meta = {"grade": False, "solution": False, "locked": False, "task": False}
    meta |= {"schema_version": 3, "grade_id": name, "points": points, **marks}
    return {"nbgrader": meta}


def notebook_of(*cells):
    return json.dumps(new_notebook(cells=list(cells)))  # ASCII: surrogates survive


def check_cell(name=KIT):
    meta = marked(name.replace(".", "-"), 3, grade=True, locked=True)
    return new_code_cell(f'check("{name}", f)', metadata=meta)


def test_cell(source, name="test", outputs=()):
    meta = marked(name, 1, grade=True, locked=True)
    return new_code_cell(source, metadata=meta, outputs=list(outputs))


test_cell.__test__ = False


def error(name, text):
    return new_output("error", ename=name, evalue=text, traceback=[text])


def kit_grade(candidate, name=KIT):
    report = judge(get(name), candidate)
    return CellGrade(
        grade_id=name.replace(".", "-"),
        max_points=report.max_points,
        auto=report.points,
        status=report.status,
        report=json.loads(json.dumps(report.to_json())),
    )


def mutant(name, exercise=KIT):
    return next(m for m in get(exercise).key.mutants if m.name == name)


def result_of(grades=(), cells=(), student="ada", status="graded", **more):
    book = NotebookResult(
        name="exercises",
        status=status,
        grades=tuple(grades),
        notebook=notebook_of(*cells) if cells else None,
        message=more.pop("said", ""),
    )
    return Result(
        student=student,
        assignment="ps",
        digest="d",
        status=status,
        notebooks=(book,),
        **more,
    )


@pytest.fixture
def course(tmp_path):
    (tmp_path / "nbgrader_config.py").write_text("c = get_config()\n")
    return load_course(tmp_path)


def page_of(course, result, assignment="ps"):
    Journal(course.reports / assignment / "results").write(result)
    pages = write_feedback(course, assignment, [result.student])
    return pages[0].read_text(encoding="utf-8")


# What it says


def test_right_answers_are_told_so_with_their_points(course):
    page = page_of(course, result_of([kit_grade(get(KIT).key.reference)]))
    assert get(KIT).probe.title in page
    assert "3 / 3" in page
    assert "All cases pass." in page
    assert "✗" not in page


def test_wrong_answers_hear_their_misconception_expected_and_got(course):
    wrong = mutant("unstable")
    page = page_of(course, result_of([kit_grade(wrong.fn)]))
    assert wrong.message.split("`")[0][:40] in page
    for words in ("✓", "✗", "expected: ", "got: ", "case: ", "1.5 / 3"):
        assert words in page


def test_every_status_has_words(course):
    statuses = ["passed", "failed", "partial", "crashed", "out of time", "not run"]
    grades = [CellGrade(grade_id=s, max_points=1, auto=0.0, status=s) for s in statuses]
    page = page_of(course, result_of(grades))
    sections = page.split("<section")[1:]
    assert len(sections) == len(statuses)
    assert all("class='say'" in s or 'class="say"' in s for s in sections)


def test_a_crashed_exercise_of_the_kit_keeps_its_title(course):
    gone = CellGrade(
        grade_id="losses-cross_entropy", max_points=3, auto=0.0, status="crashed"
    )
    page = page_of(course, result_of([gone], [check_cell()]))
    assert get(KIT).probe.title in page


def test_own_cells_and_outputs_are_below_and_folded(course):
    own = new_code_cell(
        "x = 1  # mine",
        outputs=[
            new_output("stream", text="hello"),
            new_output("display_data", {"image/png": picture()}),
            new_output(
                "execute_result", {"text/html": "<table><tr><td>7</td></table>"}
            ),
        ],
    )
    page = page_of(course, result_of([], [own, new_markdown_cell("**my** text")]))
    folded = page[page.index("<details>") :]
    for words in ("# mine", "hello", "data:image/png", "<td>7</td>", "<strong>my"):
        assert words in folded


def test_the_teachers_cells_and_their_outputs_are_not_shown(course):
    shown = new_output("stream", text="SECRET OUTPUT")
    cells = [test_cell("assert SECRET_SOURCE", outputs=[shown]), check_cell()]
    assert "SECRET" not in page_of(course, result_of([], cells))


@pytest.mark.parametrize("status", ["unreadable", "missing"])
def test_without_a_notebook_it_says_why_and_what_to_do(course, status):
    grade = CellGrade(grade_id="a", max_points=1, auto=0.0, status="not run")
    page = page_of(course, result_of([grade], status=status, said="It is `empty`."))
    assert "It is <code>empty</code>." in page
    assert "What to do" in page
    assert "<code>exercises.ipynb</code>" in page


def test_the_graders_own_failure_makes_no_page(course):
    result = Result(
        student="e", assignment="ps", digest="d", status="error", notebooks=()
    )
    Journal(course.reports / "ps" / "results").write(result)
    assert write_feedback(course, "ps") == []


def test_flags_are_told_kindly_or_not_at_all(course):
    flags = [
        Flag(kind="edited test", where="exercises: a", what="x"),
        Flag(kind="subverted kernel", where="exercises: a", what="FOR THE TEACHER"),
        Flag(kind="kernel ended", where="exercises: a", what="Your code ended it."),
        Flag(kind="edited test", where="exercises: a", what="y"),
    ]
    page = page_of(course, result_of(flags=tuple(flags)))
    assert page.count("A test cell was changed.") == 1
    assert "Your code ended it." in page
    assert "FOR THE TEACHER" not in page


def test_only_the_students_asked_for(course):
    journal = Journal(course.reports / "ps" / "results")
    for student in ("ada", "bob", "eve"):
        journal.write(result_of(student=student))
    assert len(write_feedback(course, "ps", ["bob"])) == 1
    assert len(write_feedback(course, "ps")) == 3


# Nothing hidden


def test_hidden_tests_are_never_on_the_page(course):
    hidden = "### BEGIN HIDDEN TESTS\nassert f(77123) == 91\n### END HIDDEN TESTS"
    failed = error("AssertionError", "f(77123) is 3, not 91")
    # Code that runs after a hidden test can read it, and print it.
    spy = new_code_cell(
        "print(In)", outputs=[new_output("stream", text="['assert f(77123) == 91']")]
    )
    visible = test_cell("assert g()", "other", [error("E", "In: assert f(77123)")])
    cells = [test_cell(hidden, outputs=[failed]), visible, spy]
    grades = [
        CellGrade(grade_id=name, max_points=1, auto=0.0, status="failed")
        for name in ("test", "other")
    ]
    page = page_of(course, result_of(grades, cells))
    assert "77123" not in page
    assert "AssertionError" not in page
    assert "tests that are not shown" in page
    assert ">In</span>" in page


def test_with_hidden_tests_the_outputs_are_those_handed_in(course):
    hidden = test_cell("### BEGIN HIDDEN TESTS\nassert f(77123)\n### END HIDDEN TESTS")
    ran = new_code_cell("f(1)", outputs=[new_output("stream", text="f(77123)")])
    own = new_code_cell("f(1)", outputs=[new_output("stream", text="as I saw it")])
    place = course.submitted / "ada" / "ps"
    place.mkdir(parents=True)
    (place / "exercises.ipynb").write_text(notebook_of(own))
    page = page_of(course, result_of([], [hidden, ran]))
    assert "as I saw it" in page
    assert "77123" not in page


def test_hidden_tests_in_a_cell_with_forged_marks_are_not_shown(course):
    source = "### BEGIN HIDDEN TESTS\nassert f(77123)\n### END HIDDEN TESTS"
    forged = new_code_cell(source, metadata=marked("test", 1, solution=True))
    assert "77123" not in page_of(course, result_of([], [forged]))


def test_a_submitted_link_is_not_followed(course, tmp_path):
    hidden = test_cell("### BEGIN HIDDEN TESTS\nassert 1\n### END HIDDEN TESTS")
    secret = new_code_cell("f(1)", outputs=[new_output("stream", text="TEACHERS")])
    (tmp_path / "secret.ipynb").write_text(notebook_of(secret))
    place = course.submitted / "ada" / "ps"
    place.mkdir(parents=True)
    (place / "exercises.ipynb").symlink_to(tmp_path / "secret.ipynb")
    page = page_of(course, result_of([], [hidden, new_code_cell("f(1)")]))
    assert "TEACHERS" not in page


def test_visible_tests_say_what_went_wrong(course):
    failed = error("AssertionError", "the sum is 3")
    grade = CellGrade(grade_id="test", max_points=1, auto=0.0, status="failed")
    page = page_of(
        course, result_of([grade], [test_cell("assert f()", outputs=[failed])])
    )
    assert "AssertionError: the sum is 3" in page


def test_mark_schemes_of_tasks_are_not_shown(course):
    one = source_one()
    grades = [CellGrade(grade_id="essay", max_points=5, auto=None, status="manual")]
    page = page_of(course, result_of(grades, one.cells))
    assert "5 for length" not in page
    assert "squares(3)" not in page


@pytest.fixture
def private(course):
    path = seeds_path(Path(course.root))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("[ps]\nseed = 4711\nper_student = false\n")
    return course


def leaky(message):
    def f(logits, targets):
        raise ValueError(message)

    return f


LEAKS = {
    "raised": leaky("40.9317"),
    "raised lines": leaky(
        "x\nexpected: 40.9317 and more\ngot: tensor 40.9317 x\ncase: 40.9317"
    ),
    "own exception": lambda *_: (_ for _ in ()).throw(
        type("E409317", (Exception,), {})("40.9317")
    ),
    "returned text": lambda *_: "40.9317",
    "printed": lambda *_: print("40.9317") or 0.0,
}


@pytest.mark.parametrize("how", LEAKS)
def test_with_a_private_seed_code_cannot_write_a_case_on_the_page(private, how):
    exercise = "start_here.accuracy" if how == "returned text" else KIT
    grade = kit_grade(LEAKS[how], exercise)
    told = json.dumps(grade.report)
    assert "9317" in told  # otherwise this shows nothing
    assert "9317" not in page_of(private, result_of([grade]))


def test_with_a_private_seed_outputs_of_the_grading_run_are_not_shown(private):
    ran = new_code_cell("spy()", outputs=[new_output("stream", text="40.9317")])
    assert "40.9317" not in page_of(private, result_of([], [ran]))


def test_with_a_private_seed_the_judges_own_words_stay(private):
    page = page_of(private, result_of([kit_grade(mutant("unstable").fn)]))
    for words in ("expected: 595.76", "got: nan", "case: logits near 1,000"):
        assert words in page


def test_with_the_published_seed_an_error_keeps_its_text(course):
    page = page_of(course, result_of([kit_grade(leaky("shapes do not match"))]))
    assert "ValueError: shapes do not match" in page


# People's marks, and nbgrader


@pytest.fixture
def graded(tmp_path, monkeypatch):
    """A small course with one graded submission in its gradebook and journal."""
    without_alembic(monkeypatch)
    course = load_course(make_course(tmp_path))
    load_assignment(course, NAME)
    notebook = nbformat.writes(source_one())
    result = make_result(notebook=notebook)
    with Book.of(course) as book:
        book.write(result)
    Journal(course.reports / NAME / "results").write(result)
    return course


def by_hand(course, cell, **values):
    with Gradebook(course.db_url, "small") as book:
        grade = book.find_grade(cell, "one", NAME, "ada")
        for name, value in values.items():
            setattr(grade, name, value)
        book.db.commit()


def test_manual_points_and_comments_are_on_the_page(graded):
    by_hand(graded, "why", manual_score=2.0, needs_manual_grade=False)
    by_hand(graded, "squares", manual_score=0.5, extra_credit=0.25)
    with Gradebook(graded.db_url, "small") as book:
        book.find_comment("why", "one", NAME, "ada").manual_comment = "Well <put>."
        answer = book.find_comment("squares-answer", "one", NAME, "ada")
        answer.manual_comment = "**Shorter**, please."
        book.db.commit()
    page = write_feedback(graded, NAME)[0].read_text()
    sections = page.split("<section")
    (why,) = [s for s in sections if "Question why" in s]
    (squares,) = [s for s in sections if "<h3>squares</h3>" in s]
    assert "2 / 3" in why
    assert "Well &lt;put&gt;." in why
    assert "Because." in why
    assert "0.75 / 1" in squares
    assert "<strong>Shorter</strong>, please." in squares  # as formgrader promises
    assert "Your teacher set these points." in squares


def test_what_waits_is_said_and_total_is_so_far(graded):
    page = write_feedback(graded, NAME)[0].read_text()
    assert "answers wait</span>" in page or "answers wait for your teacher" in page
    assert "not graded yet" in page


def test_lateness_is_said(graded):
    with Gradebook(graded.db_url, "small") as book:
        notebook = book.find_submission_notebook("one", NAME, "ada")
        notebook.late_submission_penalty = 0.5
        book.db.commit()
    page = write_feedback(graded, NAME)[0].read_text()
    assert "0.5 points were taken off" in page


def test_pages_lie_where_nbgrader_puts_them_and_can_be_released(graded, tmp_path):
    secret = "a1" * 64
    place = graded.submitted / "ada" / NAME
    place.mkdir(parents=True)
    (place / "timestamp.txt").write_text("2026-01-02 03:04:05 UTC")
    (place / "submission_secret.txt").write_text(secret)
    pages = write_feedback(graded, NAME)
    folder = tmp_path / "feedback" / "ada" / NAME
    assert pages == [folder / "one.html", folder / "two.html"]
    exchange = tmp_path / "exchange"
    exchange.mkdir()
    config = Config()
    config.Exchange.root = str(exchange)
    graded.assignment_id = NAME
    ExchangeReleaseFeedback(coursedir=graded, config=config).start()
    released = exchange / "small" / "feedback"
    name = notebook_hash(secret=secret, notebook_id="one") + ".html"
    assert (released / name).read_text() == pages[0].read_text()


def test_nbgraders_own_command_can_write_these_pages(graded):
    place = graded.format_path("autograded", "ada", NAME)
    Path(place).mkdir(parents=True)
    nbformat.write(source_one(), Path(place) / "one.ipynb")
    config = Config()
    name = "tlcourse.grading.feedback.exporter.FeedbackExporter"
    config.GenerateFeedback.exporter_class = name
    graded.assignment_id = NAME
    GenerateFeedback(coursedir=graded, config=config).start()
    made = Path(graded.format_path("feedback", "ada", NAME)) / "one.html"
    page = made.read_text()
    assert "Content-Security-Policy" in page
    assert "squares(3)" not in page
    assert page == write_feedback(graded, NAME)[0].read_text()


def test_who_was_graded_by_nbgrader_alone_gets_a_page(graded):
    Journal(graded.reports / NAME / "results").path("ada").unlink()
    place = Path(graded.format_path("autograded", "ada", NAME))
    place.mkdir(parents=True)
    nbformat.write(source_one(), place / "one.ipynb")
    (page,) = write_feedback(graded, NAME)
    assert "<h3>squares</h3>" in page.read_text()
    assert "squares(3)" not in page.read_text()


# Safe to open


class Seen(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes = set(), []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]


OURS = {"html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "h3"}
OURS |= {"p", "b", "small", "span", "section", "div", "ul", "li", "pre", "code"}
OURS |= {"details", "summary"}
THEIRS = {"a", "img", "table", "thead", "tbody", "tr", "td", "th", "strong", "em"}
THEIRS |= {"blockquote", "hr", "br", "i", "del"}


def assert_safe(page):
    seen = Seen(page)
    assert seen.tags <= OURS | THEIRS
    for tag, name, value in seen.attributes:
        assert not name.startswith("on"), (tag, name)
        if name == "href":
            assert value.startswith(("https://", "http://", "mailto:"))
        elif name == "src":
            assert value.startswith(
                ("data:image/png;base64,", "data:image/jpeg;base64")
            )
        else:
            assert name in ("class", "alt", "colspan", "rowspan") or tag in (
                "html",
                "meta",
            )
    assert page.count("<main>") == page.count("</main>") == 1
    assert page.rstrip().endswith("</html>")


def hostile_cells():
    """Every payload at every place that a learner can write to."""
    for text in HTML.values():
        yield new_markdown_cell(text)
        data = {"text/html": text, "text/plain": text}
        outputs = [new_output("display_data", data)]
        outputs.append(new_output("display_data", {"text/markdown": text}))
        outputs.append(new_output("display_data", {"image/svg+xml": text}))
        outputs.append(new_output("display_data", {"application/javascript": text}))
        outputs.append(error(text, text))
        yield new_code_cell(text, outputs=outputs)
    for text in MARKDOWN.values():
        yield new_markdown_cell(text)
    for text in TEXT.values():
        yield new_code_cell("x", outputs=[new_output("stream", text=text)])


def hostile_result():
    grade = CellGrade(
        grade_id="<script>alert(1)</script>", max_points=1, auto=0.0, status="failed"
    )
    flag = Flag(kind="kernel ended", where=HTML["img onerror"], what=HTML["script"])
    return result_of(
        [grade, kit_grade(leaky(HTML["img onerror"]))],
        hostile_cells(),
        flags=(flag,),
        said=HTML["script"],
    )


@pytest.mark.parametrize("name", HTML)
def test_html_is_harmless(name):
    cleaned = html(HTML[name], Budget())
    seen = Seen(cleaned or "")
    assert seen.tags <= THEIRS | OURS - {"style", "meta", "script", "title", "body"}
    assert not any(n.startswith("on") or n == "style" for _, n, _ in seen.attributes)
    links = [v for _, n, v in seen.attributes if n in ("href", "src")]
    assert all(link.startswith("https://e.org/") for link in links)


@pytest.mark.parametrize("name", MARKDOWN)
def test_markdown_is_harmless(name):
    seen = Seen(markdown(MARKDOWN[name], Budget()))
    assert seen.tags <= THEIRS | OURS - {"style", "meta", "script"}
    links = [v for _, n, v in seen.attributes if n in ("href", "src")]
    assert all(link.startswith("https://e.org") for link in links)


@pytest.mark.parametrize("name", TEXT)
def test_text_has_no_control_characters(name):
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", plain(TEXT[name])
    )


def test_a_page_full_of_payloads_is_harmless(course):
    page = page_of(course, hostile_result())
    assert_safe(page)
    assert f'src="{HOME}' not in page


def test_the_page_forbids_what_it_does_not_need(course):
    page = page_of(course, result_of())
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    rules = dict(rule.split(maxsplit=1) for rule in policy.split("; "))
    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": "'unsafe-inline'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
@pytest.mark.parametrize("bypass_csp", [False, True])
def test_a_browser_opens_it_without_script_or_request(course, bypass_csp):
    """Also where a reader ignores the page's policy: the cleaning holds alone."""
    from playwright.sync_api import sync_playwright

    page_of(course, hostile_result())
    path = Path(course.format_path("feedback", "ada", "ps")) / "exercises.html"
    asked, shown = [], []
    with sync_playwright() as tool:
        quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = tool.chromium.launch(executable_path=CHROMIUM, args=quiet)
        tab = browser.new_context(bypass_csp=bypass_csp).new_page()
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("dialog", lambda dialog: (shown.append(1), dialog.dismiss()))
        tab.goto(path.as_uri())
        tab.evaluate("document.querySelector('details').open = true")
        tab.wait_for_load_state("networkidle")
        scripts = tab.evaluate("document.querySelectorAll('script, [onerror]').length")
        address = tab.url
        browser.close()
    assert not shown
    assert not scripts
    assert address == path.as_uri()
    assert [url for url in asked if not url.startswith("data:image/")] == [
        path.as_uri()
    ]


# Bounds


def test_a_flood_of_outputs_is_cut(course):
    outputs = [new_output("stream", text="y" * 30_000) for _ in range(40)]
    cells = [new_code_cell("x", outputs=outputs) for _ in range(20)]
    page = page_of(course, result_of([], cells))
    assert len(page) < 1e6
    assert "cut: it has 30,000 characters" in page
    assert "20 more outputs left out" in page


def test_pictures_are_real_and_not_too_many(course):
    noise = base64.b64encode(b"\x89PNG not really").decode()
    big = picture(size=(9000, 2))
    cells = [
        new_code_cell("x", outputs=[new_output("display_data", {"image/png": data})])
        for data in (noise, big, picture(), *[picture(size=(900, 900))] * 3)
    ]
    jpeg = new_output("display_data", {"image/jpeg": picture("JPEG")})
    page = page_of(course, result_of([], [*cells, new_code_cell("j", outputs=[jpeg])]))
    assert page.count("<img") == 5
    assert noise not in page


@pytest.mark.parametrize(
    "text", ["<a><b><div>", "<b></p>", "<b a b c d ", "[", "![a](", "> ", "<b a=\"'"]
)
def test_nothing_is_slow_to_clean(text):
    start = time.process_time()
    html(text * (90_000 // len(text)), Budget())
    html(text * (3_900 // max(1, text.count("<"))), Budget())
    markdown(text * (20_000 // len(text)), Budget())
    assert time.process_time() - start < 20


NO_OUTPUTS = [
    {"output_type": "display_data", "data": {"text/html": [None, 3]}},
    {"output_type": "display_data", "data": []},
    {"output_type": "display_data", "data": {"image/png": {"a": 1}}},
    {"output_type": "stream", "text": None},
    {"output_type": "stream", "text": 7},
    {"output_type": "error"},
    {"output_type": ["error"]},
    "what?",
]


@pytest.mark.parametrize("cells", [[], None, 7, [None], [{"outputs": NO_OUTPUTS}]])
def test_handed_in_outputs_that_are_none_cost_nothing(private, cells):
    if isinstance(cells, list) and cells and cells[0]:
        cells[0] |= {"cell_type": "code", "source": ["x = ", "1"]}
    place = private.submitted / "ada" / "ps"
    place.mkdir(parents=True)
    (place / "exercises.ipynb").write_text(json.dumps({"cells": cells}))
    page = page_of(private, result_of([], [new_code_cell("x = 1")]))
    assert "handed in" in page


def test_an_autograded_notebook_that_is_none_costs_only_its_cells(course):
    result = result_of([kit_grade(get(KIT).key.reference)])
    book = result.notebooks[0].model_copy(update={"notebook": "{broken"})
    page = page_of(course, result.model_copy(update={"notebooks": (book,)}))
    assert "3 / 3" in page
