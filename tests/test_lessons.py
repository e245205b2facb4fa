"""Lessons and the notebooks made from them: up to date, readable, and honest."""

import re
import statistics
from pathlib import Path

import nbformat
import pytest

from tlcourse.authoring.building import differences, targets
from tlcourse.authoring.quiz import read_quiz
from tlcourse.course import all_chapters

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = [c for c in all_chapters() if (ROOT / "lessons" / c.folder).is_dir()]
each_chapter = pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda c: c.folder)
LESSONS = sorted(ROOT.glob("chapters/*/lesson.ipynb"))
NOTEBOOKS = [*LESSONS, *sorted(ROOT.glob("solutions/*/*.ipynb"))]


def name(path):
    return f"{path.parent.parent.name}-{path.parent.name}"


each_lesson = pytest.mark.parametrize("path", LESSONS, ids=name)
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=name)


def cells(path, kind):
    return [c for c in nbformat.read(path, 4).cells if c.cell_type == kind]


def test_every_chapter_of_the_manifest_is_there():
    assert len(LESSONS) == len(all_chapters()) == len(CHAPTERS)


@each_chapter
def test_notebooks_are_what_their_source_says(chapter):
    """Build again: any difference of cells means `tlcourse build` was forgotten."""
    found = [d for target in targets(ROOT, chapter) for d in differences(target)]
    assert not found, "\n".join(found)


@each_lesson
def test_code_cells_fit_a_screen(path):
    sources = [c.source for c in cells(path, "code")]
    assert max(len(s.split("\n")) for s in sources) <= 25
    assert statistics.median(len(_code_lines(s)) for s in sources) <= 5
    too_wide = [ln for s in sources for ln in s.split("\n") if len(ln) > 79]
    assert not too_wide


def _code_lines(source):
    return [line for line in source.split("\n") if line.strip()]


@each_lesson
def test_text_cells_are_short(path):
    lesson = nbformat.read(path, 4).cells
    texts = [c.source for c in cells(path, "markdown")]
    quiz = next(i for i, text in enumerate(texts) if text == "## Quiz")
    questions = len(read_quiz(_source(path).with_name("quiz.toml")))
    assert len(lesson) - questions - 1 <= 60
    prose = [t for i, t in enumerate(texts) if not quiz <= i <= quiz + questions]
    long = [(len(_words(t)), t[:60]) for t in prose if len(_words(t)) > 120]
    assert not long


def _source(path):
    return ROOT / "lessons" / path.parent.name / "lesson.py"


def _words(text):
    without_formulas = re.sub(r"\$\$.*?\$\$|\$[^$]*\$", " x ", text, flags=re.S)
    return re.findall(r"\w[\w'’-]*", re.sub(r"\]\([^)]*\)", "]", without_formulas))


@each_lesson
def test_a_lesson_has_its_parts(path):
    lesson = nbformat.read(path, 4).cells
    text = "\n".join(c.source for c in lesson)
    for part in ("You will be able to", "Predict", "## Quiz", "Recap", "Sources"):
        assert part in text, f"no “{part}”"
    folded = [c for c in lesson if c.metadata.get("jupyter", {}).get("outputs_hidden")]
    assert folded, "no folded output for the predict-first moment"
    assert sum(c.source.count("assert ") for c in lesson) >= 3


@each_lesson
def test_no_remote_pictures(path):
    for cell in cells(path, "markdown"):
        assert not re.search(r"!\[[^\]]*\]\(http|<img|<script", cell.source)


@each_lesson
def test_quiz_is_fair(path):
    """Six to eight questions; the right choice is neither always long nor always A."""
    questions = read_quiz(_source(path).with_name("quiz.toml"))
    assert 6 <= len(questions) <= 8
    places = [next(i for i, c in enumerate(q.choices) if c.right) for q in questions]
    assert len(set(places)) >= 3
    longest = [max(q.choices, key=lambda c: len(c.text)).right for q in questions]
    assert sum(longest) <= len(questions) / 2 + 1
    assert all(len(c.why.split()) >= 4 for q in questions for c in q.choices)


@each_notebook
def test_stored_outputs_are_clean(path):
    codes = cells(path, "code")
    outputs = [o for c in codes for o in c.outputs]
    assert outputs, "no stored outputs: nbval would compare nothing"
    assert all(c.execution_count for c in codes), "not run from top to bottom"
    assert not [o for o in outputs if o.output_type == "error"]
    assert not [o for o in outputs if o.get("name") == "stderr"]
    assert path.stat().st_size <= 500_000


@pytest.mark.parametrize("path", sorted(ROOT.glob("solutions/*/*.ipynb")), ids=name)
def test_solutions_store_full_marks(path):
    for cell in cells(path, "code"):
        meta = cell.metadata.get("nbgrader", {})
        if meta.get("locked"):
            (result,) = [o for o in cell.outputs if o.output_type == "execute_result"]
            assert float(result.data["text/plain"]) == meta["points"]
