"""Studies: resumable, tied to their source, and read back rightly."""

import json

import numpy as np
import pytest

from tlcourse import studies
from tlcourse.course import all_chapters, root
from tlcourse.studies import StudyError, load_study, run_study

MANIFEST = """
[[part]]
title = "Part"
[[part.chapter]]
number = 1
slug = "toy"
title = "Toy"
goals = ["one"]
minutes = 1
"""
STUDY = """
import random
SEEDS = (0, 1, 2)
METRICS = {"sum": "arm plus noise"}
def arms():
    return [{"size": 1, "kind": "a"}, {"size": 2, "kind": "a"}]
def run(arm, seed):
    open("log", "a").write("x")
    return {"sum": arm["size"] + random.random() / 10}
"""
FOLDERS = [
    c for c in all_chapters() if (root() / "lessons" / c.folder / "study.py").is_file()
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "course.toml").write_text(MANIFEST)
    place = tmp_path / "lessons" / "01_toy"
    place.mkdir(parents=True)
    (place / "study.py").write_text(STUDY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(studies.sys.modules, "study_01_toy", raising=False)
    yield place
    studies.sys.modules.pop("study_01_toy", None)


def test_results_are_seeded_and_found_by_setting(folder):
    run_study("toy")
    study = load_study("toy")
    values = study.values("sum", size=2)
    assert values.shape == (3,) and ((values >= 2) & (values < 2.1)).all()
    assert study.run({"size": 2, "kind": "a"}, 1)["sum"] == pytest.approx(
        values[1], rel=1e-5
    )
    mean, low, high = study.interval("sum", size=2)
    assert mean == pytest.approx(values.mean())
    assert low < mean < high
    assert study.holds("sum", values[0], size=2)
    assert not study.holds("sum", 3.0, size=2)
    with pytest.raises(ValueError, match="selects 2 arms"):
        study.values("sum", kind="a")


def test_all_settings_of_an_arm_select_it_although_another_has_more(folder):
    arms = 'return [{"size": 1}, {"size": 1, "kind": "a"}]'
    text = STUDY.replace(
        'return [{"size": 1, "kind": "a"}, {"size": 2, "kind": "a"}]', arms
    )
    (folder / "study.py").write_text(text)
    run_study("toy")
    assert load_study("toy").values("sum", size=1).shape == (3,)


def test_two_courses_with_a_folder_of_one_name_are_not_mixed_up(folder, tmp_path):
    run_study("toy")
    other = tmp_path / "other" / folder.name
    other.mkdir(parents=True)
    (other / "study.py").write_text(STUDY.replace("(0, 1, 2)", "(7,)"))
    assert studies._load_module(other).SEEDS == (7,)
    assert studies._load_module(folder).SEEDS == (0, 1, 2)


def test_prediction_range_covers_as_often_as_it_says(folder):
    """Of many normal draws, about 95 % of new ones lie in mean ± t s sqrt(1 + 1/n)."""
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(2000):
        draw = rng.normal(0, 1, 6)
        runs = [
            {"arm": {"size": 1, "kind": "a"}, "seed": i, "metrics": {"sum": v}}
            for i, v in enumerate(draw[:5])
        ]
        hits += studies.Study(folder, tuple(runs)).holds("sum", draw[5], size=1)
    assert 0.93 < hits / 2000 < 0.97


def test_finished_runs_are_not_run_again(folder):
    path = run_study("toy")
    first = path.read_bytes()
    stored = json.loads(first)
    stored["runs"] = stored["runs"][:4]
    path.write_text(json.dumps(stored))
    log = folder.parents[1] / "log"
    log.unlink()
    run_study("toy")
    assert log.read_text() == "xx"
    kept, again = json.loads(first)["runs"], json.loads(path.read_text())["runs"]
    assert [(r["arm"], r["metrics"]) for r in again] == [
        (r["arm"], r["metrics"]) for r in kept
    ]


def test_a_changed_study_does_not_lend_its_old_results(folder):
    run_study("toy")
    source = folder / "study.py"
    source.write_text("# a comment changes nothing\n" + STUDY)
    load_study("toy")
    source.write_text(STUDY.replace("/ 10", "/ 20"))
    with pytest.raises(StudyError, match="tlcourse study 01"):
        load_study("toy")


@pytest.mark.parametrize("content", [None, "{"])
def test_missing_or_broken_results_say_so(folder, content):
    if content:
        (folder / "results.json").write_text(content)
    with pytest.raises(StudyError, match="results.json"):
        load_study("toy")


@pytest.mark.parametrize("chapter", FOLDERS, ids=lambda c: c.folder)
def test_stored_results_are_complete(chapter):
    """Every setting with every seed, made by today's source."""
    study = load_study(chapter.slug)
    seeds = study._module.SEEDS
    assert len(seeds) >= 5
    assert len(study.runs) == len(seeds) * len(study.arms)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("chapter", FOLDERS, ids=lambda c: c.folder)
def test_a_sample_of_a_study_is_computed_again(chapter):
    study = load_study(chapter.slug)
    for arm in study.arms[:: max(1, len(study.arms) // 4)]:
        fresh = study.run(arm, seed=study._module.SEEDS[0])
        for metric, value in fresh.items():
            stored = study.values(metric, **arm)[0]
            assert value == pytest.approx(stored, rel=0.02, abs=0.03), (
                arm,
                metric,
            )
