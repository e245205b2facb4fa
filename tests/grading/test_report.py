"""The report: statistics against oracles, and a page that a teacher can trust."""

import json
import random
import re
import time
import tracemalloc
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from scipy.stats import pointbiserialr

from tlcourse.grading.records import CellGrade, Flag, NotebookResult, Result
from tlcourse.grading.report import write_report
from tlcourse.grading.report.items import discrimination, upper_bound
from tlcourse.grading.report.page import needs, to_html
from tlcourse.grading.report.statistics import describe, histogram

FULL = {"a": 3.0, "b": 2.0, "c": 4.0}


def report_of(status, points, full, mistake=None, message=""):
    """A kit's report as plain data, as far as statistics look at it."""
    return {
        "title": "An exercise",
        "status": status,
        "points": points,
        "max_points": full,
        "misconception": mistake,
        "message": message,
    }


def grade(name, points, full=None, status=None, mistake=None, message=""):
    full = full or FULL[name]
    status = status or ("passed" if points == full else "failed")
    report = report_of(status, points, full, mistake, message)
    return CellGrade(
        grade_id=name, max_points=full, auto=points, status=status, report=report
    )


def question(name="why", auto=None):
    status = "manual" if auto is None else "not attempted"
    return CellGrade(grade_id=name, max_points=5, auto=auto, status=status)


def result(student, grades, status="graded", notebook="{}", **more):
    book = NotebookResult(
        name="exercises", status=status, grades=tuple(grades), notebook=notebook
    )
    return Result(
        student=student,
        assignment="ps",
        digest="d",
        status=status,
        notebooks=(book,),
        **more,
    )


def class_of(rows, **more):
    """Results from rows of points in the order of FULL."""
    return [
        result(f"s{i:04d}", [grade(n, p) for n, p in zip(FULL, row, strict=True)])
        for i, row in enumerate(rows)
    ]


@pytest.fixture
def points():
    """A made-up class: 40 students, three exercises, points in steps of 0.25."""
    draw = np.random.default_rng(5)
    skill = draw.normal(0.6, 0.25, size=40)
    noise = draw.normal(0, 0.2, size=(40, 3))
    share = np.clip(skill[:, None] + noise, 0, 1)
    return np.round(share * np.array(list(FULL.values())) * 4) / 4


def test_difficulty_and_shares_agree_with_a_slow_loop(points):
    items = describe("ps", class_of(points.tolist())).items
    for column, item in enumerate(items):
        full = FULL[item.grade_id]
        got = [row[column] for row in points.tolist()]
        assert item.difficulty == pytest.approx(sum(p / full for p in got) / len(got))
        assert item.full == sum(p == full for p in got)
        assert item.zero == sum(p == 0 for p in got)
        assert item.full + item.partial + item.zero == item.graded == 40


def test_discrimination_is_the_corrected_item_total_correlation(points):
    items = describe("ps", class_of(points.tolist())).items
    for column, item in enumerate(items):
        rest = points.sum(axis=1) - points[:, column]
        oracle = np.corrcoef(points[:, column], rest)[0, 1]
        assert item.discrimination == pytest.approx(oracle)


def test_discrimination_of_right_or_wrong_is_the_point_biserial(points):
    right = (points[:, 0] > 1.5).astype(float)
    r, _ = discrimination(right, points[:, 1])
    assert r == pytest.approx(pointbiserialr(right, points[:, 1]).statistic)


@pytest.mark.parametrize(
    ("item", "rest", "why"),
    [
        ([1, 1, 1, 1], [1, 2, 3, 4], "the same points here"),
        ([1, 2, 3, 4], [0, 0, 0, 0], "the same points elsewhere"),
        ([1, 2], [2, 1], "fewer than 3"),
        ([], [], "fewer than 3"),
    ],
)
def test_undefined_discrimination_is_said(item, rest, why):
    r, said = discrimination(np.array(item, float), np.array(rest, float))
    assert r is None
    assert why in said


def test_upper_bound_is_fishers():
    # r = -0.5 over 28 submissions: z = -0.5493, standard error 1 / 5.
    assert upper_bound(-0.5, 28) == pytest.approx(np.tanh(-0.549306 + 0.392), abs=1e-6)


def test_only_one_exercise_has_no_discrimination():
    rows = [result(f"s{i}", [grade("a", i % 4)]) for i in range(12)]
    (item,) = describe("ps", rows).items
    assert item.discrimination is None
    assert "elsewhere" in item.undefined


def test_an_exercise_that_punishes_the_strong_looks_broken():
    rows = [(i % 4, 2 * (i % 4 > 1), 4 - 4 * (i % 4) / 3) for i in range(24)]
    items = {i.grade_id: i for i in describe("ps", class_of(rows)).items}
    assert items["c"].discrimination < 0
    assert "Is the check right?" in " ".join(items["c"].suspicions)


def test_a_small_class_calls_nothing_broken():
    rows = [(3, 2, 0), (0, 0, 4), (3, 2, 0), (0, 0, 4)]
    assert not any(i.suspicions for i in describe("ps", class_of(rows)).items)


def test_an_exercise_that_nobody_solves_looks_broken():
    rows = [(3, 1, 4), (1, 1, 2), (2, 0, 4), (3, 1, 1), (1, 1, 0)]
    items = {i.grade_id: i for i in describe("ps", class_of(rows)).items}
    assert "nobody has full marks" in items["b"].suspicions[0]
    assert not items["a"].suspicions


def test_answers_that_crash_are_a_suspicion():
    late = [result(f"l{i}", [grade("a", 0, status="out of time")]) for i in range(4)]
    fine = [result(f"f{i}", [grade("a", 3)]) for i in range(3)]
    (item,) = describe("ps", late + fine).items
    assert "4 of 7 answers crashed or ran out of time" in item.suspicions[0]


def test_stubs_and_what_was_not_run_are_not_attempts():
    endings = ["not attempted", "not run", "passed", "failed", "refused"]
    rows = [
        result(f"s{i}", [grade("a", 3 * (ending == "passed"), status=ending)])
        for i, ending in enumerate(endings)
    ]
    (item,) = describe("ps", rows).items
    assert (item.graded, item.attempted) == (5, 3)


def test_misconceptions_are_counted_by_name_with_their_own_sentence():
    perhaps = "Perhaps this: You forgot the mean."
    told = [("mean", perhaps), ("mean", "You forgot the mean."), ("sign", "A sign.")]
    rows = [
        result(f"s{i}", [grade("a", 0, mistake=name, message=text)])
        for i, (name, text) in enumerate(told)
    ]
    rows.append(result("other", [grade("a", 0)]))
    (item,) = describe("ps", rows).items
    counts = [(m.name, m.message, m.count) for m in item.misconceptions]
    assert counts == [("mean", "You forgot the mean.", 2), ("sign", "A sign.", 1)]
    assert item.unnamed == 1


def test_submissions_without_grades_do_not_count_as_wrong_answers():
    rows = [result("ok", [grade("a", 3)])]
    for status in ("unreadable", "missing"):
        rows.append(result(status, [grade("a", 0)], status=status, notebook=None))
    failed = Result(
        student="e", assignment="ps", digest="d", status="error", notebooks=()
    )
    report = describe("ps", [*rows, failed])
    assert report.statuses == {"graded": 1, "unreadable": 1, "missing": 1, "error": 1}
    assert report.items[0].graded == 1
    assert report.median_points == 3
    assert [row.points for row in report.rows if row.status != "graded"] == [None] * 3


def test_questions_wait_until_a_person_has_graded_them():
    rows = [result(f"s{i}", [grade("a", 3), question()]) for i in range(4)]
    rows.append(result("empty", [grade("a", 3), question(auto=0.0)]))
    report = describe("ps", rows, {("s0", "exercises", "why")})
    assert [(w.grade_id, w.answers) for w in report.waiting] == [("why", 3)]
    assert [item.grade_id for item in report.items] == ["a"]
    assert report.max_points == 3


@pytest.mark.parametrize("full", [1, 2.5, 7, 14, 31, 100, 1234])
def test_histogram_agrees_with_a_slow_loop(full):
    draw = np.random.default_rng(int(full))
    points = np.round(draw.uniform(0, full, 300), 2)
    points[:9] = full
    bars = histogram(points, full)
    slow = [
        sum(low - 1e-9 <= p < high - 1e-9 for p in points)
        for low, high in zip(bars.edges, bars.edges[1:], strict=False)
    ]
    assert list(bars.counts) == slow
    assert sum(bars.counts) == 300
    assert len(bars.counts) <= 21


def test_histogram_puts_tenths_where_they_belong():
    bars = histogram(np.array([0.3, 0.3, 0.6, 0.7]), 1.0)
    counted = Counter({e: c for e, c in zip(bars.edges, bars.counts, strict=False)})
    assert counted[0.3] == 2
    assert counted[0.7] == 1


def test_seconds_are_median_and_95_percent():
    seconds = list(range(1, 101))
    random.Random(1).shuffle(seconds)
    rows = [
        result(f"s{i}", [grade("a", 3)], seconds=float(s))
        for i, s in enumerate(seconds)
    ]
    report = describe("ps", rows)
    assert report.median_seconds == pytest.approx(np.median(seconds))
    assert report.slow_seconds == pytest.approx(np.percentile(seconds, 95))


# The page


class Folders:
    """As much of a course as the report needs."""

    autograded_directory, course_id = "autograded", "x"

    def __init__(self, root):
        self.root, self.reports = root, root / "classroom" / "reports"
        self.db_url = f"sqlite:///{root / 'gradebook.db'}"

    def format_path(self, step, student, assignment):
        return str(self.root / "classroom" / step / student / assignment)


def pages(tmp_path, results):
    page, data = write_report(Folders(tmp_path), "ps", iter(results))
    return page.read_text(encoding="utf-8"), json.loads(data.read_text())


EVIL = '<script>alert(1)</script>"onload=x'


def test_everything_is_escaped(tmp_path):
    flag = Flag(kind=EVIL, where=EVIL, what=EVIL)
    evil = grade("a", 0, mistake=EVIL, message=EVIL)
    rows = [
        result(EVIL, [evil, question(EVIL)], flags=(flag,)),
        result("late", [evil], status="stopped", message=EVIL),
    ]
    html, data = pages(tmp_path, rows)
    assert "<script" not in html
    assert '"onload' not in html
    assert data["rows"][0]["student"] == EVIL


def test_page_needs_no_script_and_no_network(tmp_path):
    html, _ = pages(tmp_path, class_of([(3, 2, 4), (1, 0, 2), (0, 2, 4)]))
    assert "default-src 'none'" in html
    found = re.findall(r"""(?:src|href)\s*=\s*["']([^"']*)""", html)
    assert found
    assert all(link.startswith(("#", "../")) for link in found)
    assert not re.search(r"@import|url\((?!#)|<(script|link|iframe)\b", html)


def test_links_lead_to_the_autograded_notebook(tmp_path):
    student = "o'neil #7 & co"
    html, _ = pages(tmp_path, [result(student, [grade("a", 3)])])
    folders = Folders(tmp_path)
    (link,) = set(re.findall(r'href="(\.\./[^"]*)"', html))
    wanted = folders.format_path("autograded", student, "ps")
    reached = folders.reports / "ps" / unquote(link)
    assert reached.resolve() == (Path(wanted) / "exercises.ipynb").resolve()


def test_it_opens_with_what_needs_a_person(tmp_path):
    flag = Flag(kind="edited test", where="exercises: a", what="It was changed.")
    rows = [
        result("fine", [grade("a", 3), question()]),
        result("odd", [grade("a", 3)], flags=(flag,)),
        result("gone", [grade("a", 0)], status="missing", notebook=None),
    ]
    html, _ = pages(tmp_path, rows)
    start = html.index("What needs you")
    top = html[start : html.index("The class")]
    for words in ("missing", "gone", "flagged", "odd", "answers wait"):
        assert words in top
    assert html.index("The class") < html.index("The exercises")


def test_nothing_to_do_is_said(tmp_path):
    html, _ = pages(tmp_path, [result("fine", [grade("a", 3)])])
    assert "Nothing. Every submission was graded" in html


def test_a_broken_exercise_is_named_first_and_how_to_read_it_is_said(tmp_path):
    rows = [(i % 4, 2 * (i % 4 > 1), 4 - 4 * (i % 4) / 3) for i in range(24)]
    html, _ = pages(tmp_path, class_of(rows))
    assert html.index("Is the check right?") < html.index("The class")
    assert "tells strong from weak submissions" in html


def test_no_submission_at_all_still_makes_a_page(tmp_path):
    html, data = pages(tmp_path, [])
    assert "0 submissions" in html
    assert data["histogram"] is None
    assert data["median_points"] is None


def test_undefined_numbers_are_words_never_nan(tmp_path):
    html, data = pages(tmp_path, class_of([(3, 2, 4)]))
    assert "nan" not in html.lower().replace("finance", "")
    assert data["items"][0]["discrimination"] is None
    assert "fewer than 3 submissions" in html


def test_the_figure_names_its_axes_and_suits_dark_pages(tmp_path):
    html, _ = pages(tmp_path, class_of([(3, 2, 4), (1, 0, 2), (0, 2, 4)]))
    svg = html[html.index("<svg") : html.index("</svg>")]
    assert "Half of the class has 6 or more of 9 points" in svg
    assert "submissions" in svg
    assert "points by machine" in svg
    assert "currentColor" in svg
    assert "#000000" not in svg


def test_the_same_class_makes_the_same_bytes(tmp_path, points):
    rows = class_of(points.tolist())
    first, _ = pages(tmp_path, rows)
    again, _ = pages(tmp_path, reversed(rows))
    assert first == again


def test_an_unreadable_gradebook_is_said_and_loses_no_report(tmp_path):
    (tmp_path / "gradebook.db").write_text("this is no database")
    html, _ = pages(tmp_path, [result("fine", [question()])])
    assert "The gradebook could not be read" in html


def test_long_stories_are_cut(tmp_path):
    flags = tuple(Flag(kind="k", where="w", what="x" * 5_000) for _ in range(9))
    html, data = pages(tmp_path, [result("s", [grade("a", 3)], flags=flags)])
    assert "x" * 400 not in html
    assert "(4 more flags)" in html
    assert data["rows"][0]["more_flags"] == 4


def test_a_thousand_students_fit_in_memory_page_and_seconds(tmp_path):
    notebook = "x" * 200_000
    flag = Flag(kind="edited test", where="exercises: a", what="It was changed. " * 9)

    def many():
        for i in range(1_000):
            grades = [grade(n, f * (i % 3) / 2) for n, f in FULL.items()]
            flags = (flag,) * (i % 7 == 0)
            yield result(
                f"s{i}", grades, notebook=notebook + str(i), flags=flags, seconds=2.0
            )

    tracemalloc.start()
    try:
        report = describe("ps", many())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20e6  # the notebooks alone are ten times as much
    start = time.process_time()
    html = to_html(report, lambda student, name: f"../{student}/{name}.ipynb")
    assert time.process_time() - start < 3
    assert len(html.encode()) < 3e6
    assert needs(report)[0].count == 143
