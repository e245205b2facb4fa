import json
import math

import nbformat
import pytest
from nbgrader.utils import determine_grade
from toys import TOY, doubled, tripled

from tlcourse.exercises import Report, judge
from tlcourse.exercises.feedback import earned
from tlcourse.exercises.overview import Row
from tlcourse.exercises.store import Standing


def stub(x):
    raise NotImplementedError


def crash(x):
    return 1 / 0


def partly(x):
    y = doubled(x)
    return y if y.max() < 1e3 else y * 2


ANSWERS = {
    "right": doubled,
    "wrong": tripled,
    "stub": stub,
    "crash": crash,
    "partly": partly,
}


def graded_cell(outputs):
    cell = nbformat.v4.new_code_cell("check(...)", outputs=outputs)
    cell.metadata["nbgrader"] = {
        "grade": True,
        "grade_id": "toys-doubled",
        "locked": True,
        "points": TOY.points,
        "schema_version": 3,
        "solution": False,
        "task": False,
    }
    return nbformat.from_dict(cell)


@pytest.mark.parametrize("kind", ANSWERS)
def test_nbgrader_reads_exactly_the_points(kind):
    report = judge(TOY, ANSWERS[kind])
    bundle = report._repr_mimebundle_()
    shown = nbformat.v4.new_output("execute_result", bundle, execution_count=1)
    assert determine_grade(graded_cell([shown])) == (report.points, TOY.points)
    assert float(bundle["text/plain"]) == report.points
    assert math.isfinite(report.points)


def test_ipython_shows_the_points_as_text():
    from IPython.core.formatters import DisplayFormatter

    data, _ = DisplayFormatter().format(judge(TOY, partly))
    assert data["text/plain"] == "2.66"
    assert "text/html" in data


def test_an_error_in_the_cell_earns_nothing():
    error = nbformat.v4.new_output("error", ename="NameError", evalue="x", traceback=[])
    assert determine_grade(graded_cell([error])) == (0, TOY.points)


def test_html_is_escaped():
    def script(x):
        print("<script>printed</script>")
        raise RuntimeError("<script>raised</script>")

    html = judge(TOY, script).saying("<script>said</script> `<b>`").to_html()
    for word in ("printed", "raised", "said"):
        assert f"&lt;script&gt;{word}" in html
    assert "<script" not in html
    assert "<code>&lt;b&gt;</code>" in html


@pytest.mark.parametrize("kind", ANSWERS)
def test_json_round_trip(kind):
    report = judge(TOY, ANSWERS[kind])
    record = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert Report.from_json(record) == report
    assert record["points"] == report.points


def test_the_terminal_form_says_what_counts():
    text = str(judge(TOY, partly))
    assert text.startswith("Double it: 2.66 / 4 points (partial)")
    assert "FAIL large (0/1)" in text and "ok   values (2/2)" in text
    assert "`y` has a wrong value." in text
    assert "expected:" in text and "got:" in text


@pytest.mark.parametrize("most", [1, 2, 3, 7])
@pytest.mark.parametrize("groups", [2, 3, 4, 7])
def test_points_never_round_up(most, groups):
    for right in range(groups + 1):
        points = earned(most, right / groups)
        assert points <= most * right / groups + 1e-9
        assert points > most * right / groups - 0.0100001
    assert earned(most, 1) == most


def test_the_overview_counts_points_as_the_report_does():
    row = Row("toys.doubled", "t", 2, Standing(best=1 / 3))
    assert row.points == earned(2, 1 / 3) == 0.66
