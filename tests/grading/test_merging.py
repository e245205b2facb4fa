"""Answers find their place; tests stay the teacher's; what is odd is flagged."""

import copy

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_raw_cell
from nbgrader.utils import compute_checksum
from small_master import (
    by_grade_id,
    find,
    handed_in,
    make_master,
    make_right,
    make_submission,
    right,
    stub,
)

from tlcourse.grading.reading.matching import MAX_EXTRAS, WHAT, merge

MARKED = [
    "helper",
    "double-answer",
    "double-test",
    "treble-answer",
    "treble-test",
    "why",
    "task",
]


def merged(notebook):
    """Merge, and check what holds for every merge."""
    master = make_master()
    before = copy.deepcopy(master)
    got = merge(master, handed_in(notebook), "exercises")
    assert master == before
    nbformat.validate(got.notebook)
    marked = [c for c in got.notebook.cells if c.metadata.get("nbgrader")]
    assert [c.metadata.nbgrader.grade_id for c in marked] == MARKED
    for name in ("helper", "double-test", "treble-test", "task"):
        assert find(got.notebook, name) == find(master, name)
    again = merge(master, handed_in(got.notebook))
    assert again.notebook == got.notebook
    return got


def kinds(notebook):
    return [flag.kind for flag in merged(notebook).flags]


def sources(notebook):
    return [c.source for c in merged(notebook).notebook.cells]


def answers(notebook):
    cells = by_grade_id(merged(notebook).notebook)
    return [cells[n].source for n in ("double-answer", "treble-answer", "why")]


RIGHT = [right("double", 2), right("treble", 3), "So."]


def test_honest_submission_is_kept_and_not_flagged():
    got = merged(make_right())
    assert got.flags == ()
    assert answers(make_right()) == RIGHT
    assert len(got.notebook.cells) == len(make_master().cells)
    assert got.notebook.metadata == make_master().metadata


def test_untouched_answer_keeps_the_masters_checksum():
    notebook = make_submission(double_answer=stub("double").replace("\n", "  \r\n"))
    cell = by_grade_id(merged(notebook).notebook)["double-answer"]
    assert compute_checksum(cell) == cell.metadata.nbgrader.checksum


def test_indentation_of_an_answer_counts():
    moved = stub("double").replace("    raise", "  raise")
    assert answers(make_submission(double_answer=moved))[0] == moved


def without_ids(notebook):
    notebook.nbformat_minor = 4
    for cell in notebook.cells:
        del cell["id"]


def by_colab(notebook):
    without_ids(notebook)
    notebook.metadata = {"colab": {"provenance": []}, "accelerator": "GPU"}
    for n, cell in enumerate(notebook.cells):
        cell.metadata.update(id=f"x{n}", colab={"height": 3}, outputId=f"y{n}")


def run_again(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.execution_count = 7
            cell.outputs = [nbformat.v4.new_output("stream", text="hello\n" * 9)]


def by_editors(notebook):
    notebook.metadata["kernelspec"] = {"name": "mine", "display_name": "Mine"}
    notebook.metadata["language_info"] = {"name": "python", "version": "9"}
    for cell in notebook.cells:
        cell.metadata.update(
            collapsed=True,
            tags=["mine"],
            slideshow={"slide_type": "slide"},
            trusted=True,
            vscode={"languageId": "python"},
            deletable=True,
        )


def with_spaces(notebook):
    for cell in notebook.cells:
        cell.source = cell.source.replace("\n", "  \r\n") + "\n\n"


def with_own_cells(notebook):
    for place in (9, 5, 0):
        notebook.cells.insert(place, new_code_cell("print('mine')"))
        notebook.cells.insert(place, new_markdown_cell("My thought."))
        notebook.cells.insert(place, new_raw_cell("raw"))


def with_left_overs_of_nbgrader(notebook):
    marks = {"grade": False, "locked": False, "solution": False, "grade_id": "cell-1"}
    notebook.cells[0].metadata["nbgrader"] = {**marks, "schema_version": 3}


def with_own_text(notebook):
    notebook.cells[0].source = "# My title"
    del notebook.cells[1]


HONEST = [
    without_ids,
    by_colab,
    run_again,
    by_editors,
    with_spaces,
    with_own_cells,
    with_left_overs_of_nbgrader,
    with_own_text,
]


@pytest.mark.parametrize("edit", HONEST, ids=lambda e: e.__name__)
def test_ordinary_edits_are_not_flagged(edit):
    notebook = make_right()
    edit(notebook)
    assert kinds(notebook) == []
    assert [a.split() for a in answers(notebook)] == [a.split() for a in RIGHT]


def test_the_teachers_own_solution_is_not_flagged():
    """Handed in with hidden tests and mark scheme in it: those are the master's."""
    assert kinds(make_master()) == []


def test_own_cells_stay_where_they_stood():
    notebook = make_right()
    notebook.cells.insert(5, new_code_cell("behind = 1"))
    notebook.cells.insert(4, new_code_cell("before = 1"))
    notebook.cells.append(new_code_cell("last = 1"))
    given = [c.source.partition("\n")[0] for c in notebook.cells]
    assert [s.partition("\n")[0] for s in sources(notebook)] == given


def remove(notebook, *names):
    notebook.cells = [c for c in notebook.cells if c.id not in names]


def test_deleted_test_comes_back_behind_what_it_tests():
    notebook = make_right()
    notebook.cells.insert(5, new_code_cell("used_by_double = 1"))
    remove(notebook, "double-test")
    assert kinds(notebook) == ["missing test"]
    got = sources(notebook)
    place = got.index(find(make_master(), "double-test").source)
    assert got[place - 1] == "used_by_double = 1"
    assert got[place + 1] == "Write `treble`."


def test_deleted_helper_comes_back_in_front_of_what_needs_it():
    notebook = make_right()
    remove(notebook, "helper")
    assert kinds(notebook) == ["missing cell"]
    assert sources(notebook).index("ONE = 1") == 2


def test_deleted_task_and_all_tests_come_back():
    notebook = make_right()
    remove(notebook, "task", "double-test", "treble-test", "text-treble", "text-why")
    assert kinds(notebook) == ["missing cell", "missing test"]


def test_deleted_answer_is_a_remark_and_not_a_stub():
    """Merged cells: both functions stand in the first one, and the second is gone."""
    both = right("double", 2) + "\n\n" + right("treble", 3)
    notebook = make_submission(double_answer=both)
    remove(notebook, "treble-answer", "why")
    assert kinds(notebook) == ["missing answer"]
    assert answers(notebook)[0] == both
    cells = by_grade_id(merged(notebook).notebook)
    assert cells["treble-answer"].source.startswith("# This answer was missing")
    assert compute_checksum(cells["why"]) != cells["why"].metadata.nbgrader.checksum


def test_other_notebook_altogether():
    notebook = make_right()
    notebook.cells = [new_code_cell("1 + 1"), new_markdown_cell("# Holiday")]
    assert kinds(notebook) == ["missing answer", "missing cell", "missing test"]
    assert {"1 + 1", "# Holiday"} <= set(sources(notebook))


@pytest.mark.parametrize("text", ["assert True", "", "exit()", "assert double(1) == 3"])
def test_edited_test_is_the_teachers_again(text):
    notebook = make_right()
    find(notebook, "double-test").source = text
    (flag,) = merged(notebook).flags
    assert (flag.kind, flag.where) == ("edited test", "exercises: double-test")


def test_edited_locked_cells_are_the_teachers_again():
    notebook = make_right()
    find(notebook, "helper").source = "ONE = 2"
    find(notebook, "task").source = "Plot nothing."
    (flag,) = merged(notebook).flags
    assert (flag.kind, flag.where) == ("edited cell", "exercises: helper, task")


@pytest.mark.parametrize(
    "marks",
    [
        {"points": 100},
        {"points": "2"},
        {"points": -1},
        {"grade": False},
        {"solution": True},
        {"task": True},
        {"grade_id": "other"},
        {"grade_id": ""},
    ],
    ids=str,
)
def test_changed_marks_of_a_test(marks):
    notebook = make_right()
    find(notebook, "double-test").metadata.nbgrader.update(marks)
    found = kinds(notebook)
    assert found == ["changed metadata"]


def test_changed_marks_of_an_answer():
    notebook = make_right()
    marks = {"grade": True, "points": 9}
    find(notebook, "double-answer").metadata.nbgrader.update(marks)
    assert kinds(notebook) == ["changed metadata"]
    assert answers(notebook) == RIGHT


def strip(notebook, *, ids=True):
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({})
    if ids:
        without_ids(notebook)


@pytest.mark.parametrize("ids", [True, False])
def test_stripped_metadata(ids):
    notebook = make_right()
    strip(notebook, ids=ids)
    (flag,) = merged(notebook).flags
    assert flag.kind == "changed metadata"
    assert flag.where.endswith("and 4 more")
    assert answers(notebook) == RIGHT
    assert len(merged(notebook).notebook.cells) == len(make_master().cells)


def test_stripped_unanswered_and_own_cells():
    notebook = make_submission(treble_answer=right("treble", 3), why="So.")
    notebook.cells.insert(4, new_code_cell("import sys"))
    notebook.cells.insert(9, new_code_cell("print(treble(2))"))
    strip(notebook)
    assert answers(notebook) == [stub("double"), *RIGHT[1:]]


def test_stripped_and_edited_test_is_found_by_its_cell_id():
    notebook = make_right()
    strip(notebook, ids=False)
    find(notebook, "double-test").source = "assert True"
    assert kinds(notebook) == ["changed metadata", "edited test"]


def test_stripped_and_edited_test_without_id_comes_back():
    notebook = make_right()
    find(notebook, "double-test").source = "assert True"
    strip(notebook)
    assert kinds(notebook) == ["changed metadata", "missing test"]
    assert "assert True" in sources(notebook)


def test_two_texts_in_the_place_of_a_stripped_answer_are_left_to_a_person():
    notebook = make_right()
    place = notebook.cells.index(find(notebook, "why"))
    notebook.cells.insert(place, new_markdown_cell("Because."))
    strip(notebook)
    found = merged(notebook)
    assert {f.kind for f in found.flags} == {"changed metadata", "missing answer"}
    assert {"Because.", "So."} <= {c.source for c in found.notebook.cells}


def copied(notebook, name, source):
    cell = copy.deepcopy(find(notebook, name))
    cell.source = source
    cell["id"] = "copied"
    return cell


@pytest.mark.parametrize("place", [0, 5, 6, 12])
def test_copied_test_is_ignored(place):
    notebook = make_right()
    cell = copied(notebook, "double-test", "assert double(1) == 2")
    notebook.cells.insert(place, cell)
    assert kinds(notebook) == ["duplicate cell"]
    assert len(sources(notebook)) == len(make_master().cells)


def test_changed_copy_of_a_test_is_the_learners_own_cell():
    notebook = make_right()
    notebook.cells.insert(6, copied(notebook, "double-test", "note = 1"))
    assert kinds(notebook) == ["duplicate cell"]
    assert sources(notebook)[6] == "note = 1"


@pytest.mark.parametrize("place", [4, 5, 6])
def test_answer_in_a_copy_counts(place):
    """Above or below the stub: the stub has no work in it and must not overwrite."""
    notebook = make_right()
    done = copied(notebook, "double-answer", right("double", 2))
    find(notebook, "double-answer").source = stub("double")
    notebook.cells.insert(place, done)
    assert kinds(notebook) == ["duplicate cell"]
    assert answers(notebook) == RIGHT
    assert stub("double") not in sources(notebook)


def test_split_answer_runs_in_its_order():
    """JupyterLab gives both halves the same metadata."""
    notebook = make_submission(double_answer="def two():\n    return 2")
    second = "def double(x):\n    return two() * x"
    notebook.cells.insert(5, copied(notebook, "double-answer", second))
    assert kinds(notebook) == ["duplicate cell"]
    assert answers(notebook)[0] == second
    got = sources(notebook)
    assert got.index("def two():\n    return 2") == got.index(second) - 1


def test_many_copies():
    notebook = make_right()
    extra = [copied(notebook, "double-answer", f"double = {n}") for n in range(500)]
    notebook.cells[5:5] = extra
    assert kinds(notebook) == ["duplicate cell"]
    assert answers(notebook)[0] == "double = 499"


def test_moved_cells_are_put_back():
    notebook = make_right()
    notebook.cells = notebook.cells[::-1]
    assert kinds(notebook) == ["moved cell"]
    assert answers(notebook) == RIGHT


def swap_marks(notebook, one, other):
    a, b = find(notebook, one), find(notebook, other)
    a.metadata, b.metadata = b.metadata, a.metadata


def test_swapped_grade_ids_of_answers():
    notebook = make_right()
    swap_marks(notebook, "double-answer", "treble-answer")
    assert kinds(notebook) == ["swapped answers"]
    assert answers(notebook) == RIGHT


def test_answer_that_stands_in_the_place_of_a_deleted_one():
    notebook = make_submission(double_answer=right("treble", 3))
    remove(notebook, "treble-answer")
    assert kinds(notebook) == ["missing answer", "moved cell", "swapped answers"]
    assert answers(notebook)[1] == right("treble", 3)


def test_swapped_grade_ids_of_tests():
    notebook = make_right()
    swap_marks(notebook, "double-test", "treble-test")
    assert kinds(notebook) == ["edited test", "moved cell"]
    assert answers(notebook) == RIGHT


def test_grade_id_of_a_test_on_an_answer():
    notebook = make_right()
    remove(notebook, "double-test")
    marks = find(make_master(), "double-test").metadata
    find(notebook, "double-answer").metadata = marks
    assert "edited test" in kinds(notebook)


def test_answer_without_its_function_keeps_its_place():
    text = "print('I do not know')"
    assert answers(make_submission(double_answer=text))[0] == text
    assert kinds(make_submission(double_answer=text, treble_answer="pass")) == []


@pytest.mark.parametrize("kind", [new_markdown_cell, new_raw_cell])
def test_converted_answer_is_code_again(kind):
    notebook = make_right()
    place = notebook.cells.index(find(notebook, "double-answer"))
    marks = notebook.cells[place].metadata
    notebook.cells[place] = kind(RIGHT[0], metadata=marks)
    assert kinds(notebook) == ["converted cell"]
    cell = by_grade_id(merged(notebook).notebook)["double-answer"]
    assert (cell.cell_type, cell.source) == ("code", RIGHT[0])


def test_answer_in_words_that_was_made_code():
    notebook = make_right()
    place = notebook.cells.index(find(notebook, "why"))
    marks = notebook.cells[place].metadata
    notebook.cells[place] = new_code_cell("So.", metadata=marks)
    assert kinds(notebook) == ["converted cell"]
    cell = by_grade_id(merged(notebook).notebook)["why"]
    assert (cell.cell_type, cell.source) == ("markdown", "So.")


def test_picture_in_an_answer_in_words_is_kept():
    notebook = make_submission(why="![](attachment:a.png)")
    find(notebook, "why")["attachments"] = {"a.png": {"image/png": "aGk="}}
    cell = by_grade_id(merged(notebook).notebook)["why"]
    assert cell.attachments == {"a.png": {"image/png": "aGk="}}


def test_forged_marks_are_removed_and_flagged():
    notebook = make_right()
    cell = copied(notebook, "double-test", "1")
    cell.metadata.nbgrader.grade_id = "bonus"
    notebook.cells.append(cell)
    (flag,) = merged(notebook).flags
    assert (flag.kind, flag.where) == ("forged metadata", "exercises: bonus")
    assert merged(notebook).notebook.cells[-1].metadata == {}


def test_text_of_a_test_in_an_own_cell_is_ordinary():
    notebook = make_right()
    notebook.cells.append(new_code_cell("assert double(1) == 2"))
    assert kinds(notebook) == []


def test_cell_id_of_a_test_on_an_own_cell():
    notebook = make_right()
    notebook.cells.insert(0, new_code_cell("x = 1", id="double-test"))
    assert kinds(notebook) == []
    assert sources(notebook)[0] == "x = 1"


def test_too_many_own_cells_are_cut():
    notebook = make_right()
    notebook.cells += [new_code_cell("x") for _ in range(MAX_EXTRAS + 20)]
    got = merged(notebook)
    assert [f.kind for f in got.flags] == ["too many cells"]
    assert len(got.notebook.cells) == len(MARKED) + MAX_EXTRAS


def test_master_without_cell_ids():
    master = make_master()
    without_ids(master)
    got = merge(master, handed_in(make_right()))
    nbformat.validate(got.notebook)
    assert got.flags == ()


def test_every_kind_has_a_sentence_of_plain_words():
    for kind, what in WHAT.items():
        assert kind == kind.lower() and what.endswith(".")
