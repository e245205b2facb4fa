"""The generated class: the same seed the same class, and what each must earn."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from answer_variants import Variants  # noqa: E402

import classroom  # noqa: E402

EXERCISES = (*classroom.HEADS, "few_shot.prototypes", "losses-why")
STUDENTS = 12


@pytest.fixture(scope="module")
def courses(tmp_path_factory):
    """The same class, made twice."""
    folders = [tmp_path_factory.mktemp(name) for name in ("first", "second")]
    for folder in folders:
        classroom.make_course(folder, EXERCISES)
        classroom.make_class(folder, "hw1", STUDENTS, seed=3, hostile=0.4)
    return folders


def files(course):
    rooms = [course / "classroom" / room for room in ("submitted", "expected")]
    paths = [p for room in rooms for p in sorted(room.rglob("*")) if p.is_file()]
    return {str(p.relative_to(course)): p.read_bytes() for p in paths}


def test_the_same_seed_makes_the_same_class(courses):
    first, second = map(files, courses)
    assert first == second


def test_another_seed_makes_another_class(courses, tmp_path):
    classroom.make_course(tmp_path, EXERCISES)
    made = classroom.make_class(tmp_path, "hw1", STUDENTS, seed=4, hostile=0.0)
    assert not any(one.kind.startswith("hostile") for one in made.values())
    assert files(tmp_path) != files(courses[0])


def test_what_is_expected_lies_apart_from_what_was_handed_in(courses):
    submitted = courses[0] / "classroom" / "submitted"
    assert not [p for p in submitted.rglob("*") if "expected" in p.name]
    assert len(list(submitted.iterdir())) == STUDENTS


def test_missing_results_are_named(courses):
    lines = list(classroom.compare(courses[0], "hw1"))
    assert len(lines) == STUDENTS and all("no result" in line for line in lines)


def test_variants_earn_what_they_should(courses):
    variants = Variants(courses[0], "hw1")
    for name in variants.exercises:
        full = variants.max_points[name.replace(".", "-")]
        assert variants.points(name, "solution", "ada") == full
        assert variants.points(name, "another style", "ada") == full
        assert variants.points(name, "stub", "ada") == 0
        for mutant in variants.mutants(name):
            assert variants.points(name, mutant, "ada") < full
