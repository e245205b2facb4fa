from dataclasses import replace

import pytest
from toys import PROBE, TOY


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("id", "Doubled", "slug.function"),
        ("points", 0, "positive"),
        ("level", "trivial", "easy"),
        ("hints", ("one", "two"), "3 hints"),
    ],
)
def test_bad_fields_are_refused(field, value, says):
    with pytest.raises(ValueError, match=says):
        replace(PROBE, **{field: value})


def test_an_exercise_reads_its_probe():
    assert (TOY.id, TOY.points, TOY.kind) == ("toys.doubled", 4, "value")
    assert TOY.hints is PROBE.hints
