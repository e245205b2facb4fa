import sys

import pytest
import torch
from toys import PROBE, doubled, toy

from tlcourse.exercises.forbidding import ForbiddenCall, watch
from tlcourse.exercises.observing import observe

X = torch.ones(2, 3)
CALLS = {
    "torch.nn.functional.cross_entropy": lambda: torch.nn.functional.cross_entropy(
        X, torch.zeros(2, dtype=torch.int64)
    ),
    "torch.logsumexp": lambda: torch.logsumexp(X, 1),
    "torch.Tensor.logsumexp": lambda: X.logsumexp(1),
    "torch.Tensor.norm": lambda: X.norm(),
    "torch.nn.CrossEntropyLoss": lambda: torch.nn.CrossEntropyLoss()(
        X, torch.zeros(2, dtype=torch.int64)
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_noticed(name):
    with pytest.raises(ForbiddenCall, match=name), watch([name]):
        CALLS[name]()


@pytest.mark.parametrize("name", CALLS)
def test_what_is_not_forbidden_may_be_called(name):
    others = [other for other in ("torch.sort", "torch.Tensor.sort") if other != name]
    with watch(others):
        CALLS[name]()


def test_methods_are_noticed_on_parameters_and_unbound():
    parameter = torch.nn.Parameter(X)
    for call in (
        lambda: parameter.logsumexp(1),
        lambda: torch.Tensor.logsumexp(X, 1),
    ):
        with pytest.raises(ForbiddenCall), watch(["torch.Tensor.logsumexp"]):
            call()


def test_a_bare_except_does_not_hide_it():
    def hides(x):
        try:
            return torch.logsumexp(x, 0)
        except:  # noqa: E722
            return doubled(x)

    exercise = toy(forbid=("torch.logsumexp",))
    run = observe(exercise.probe, hides, PROBE.make(0), guarded=True)
    assert run.forbidden == "torch.logsumexp"
    assert observe(exercise.probe, hides, PROBE.make(0)).forbidden is None


def test_watching_ends():
    with watch(["torch.logsumexp"]):
        pass
    assert sys.getprofile() is None
    torch.logsumexp(X, 0)


def test_a_name_that_does_not_exist_is_an_error():
    with (
        pytest.raises(ValueError, match="torch.logsumexpp"),
        watch(["torch.logsumexpp"]),
    ):
        pass


def test_a_package_nobody_imported_is_watched_without_importing_it(
    tmp_path, monkeypatch
):
    (tmp_path / "heavy.py").write_text(
        "class Ridge:\n    def fit(self):\n        pass\n\ndef other():\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    with pytest.raises(ForbiddenCall, match="Ridge"), watch(["heavy.Ridge"]):
        assert "heavy" not in sys.modules
        import heavy

        heavy.other()
        heavy.Ridge().fit()


def test_one_context_manager_does_not_stand_for_all():
    from tlcourse.models import record

    with watch(["tlcourse.models.record"]), torch.no_grad():
        pass
    with (
        pytest.raises(ForbiddenCall),
        watch(["tlcourse.models.record"]),
        record(torch.nn.Linear(2, 2), [""]),
    ):
        pass
