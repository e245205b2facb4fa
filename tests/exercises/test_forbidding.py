import _thread
import ctypes
import functools
import importlib
import os
import subprocess
import sys
import threading

import pytest
import torch
from toys import PROBE, doubled, toy

from tlcourse.exercises import escaping, get
from tlcourse.exercises.escaping import ESCAPES
from tlcourse.exercises.feedback import Report
from tlcourse.exercises.forbidding import ForbiddenCall, blames_another, watch
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


WAYS_OUT = {
    "sys.setprofile": lambda: sys.setprofile(None),
    "sys.getprofile": lambda: sys.getprofile(),
    "threading.setprofile": lambda: threading.setprofile(None),
    "sys.settrace": lambda: sys.settrace(lambda *_: None),
    "through map": lambda: list(map(lambda f: f(None), [sys.setprofile])),
    "ctypes": lambda: ctypes.pythonapi.PyEval_SetProfile(None, None),
    "subprocess": lambda: subprocess.run([sys.executable, "-c", ""]),
    "os.system": lambda: os.system("true"),
    "a bare thread": lambda: _thread.start_new_thread(print, ()),
}


@pytest.mark.parametrize("way", WAYS_OUT.values(), ids=WAYS_OUT)
def test_a_way_out_is_refused_by_its_name(way):
    before = sys.gettrace()
    with pytest.raises(ForbiddenCall) as refused, watch([]):
        way()
    assert refused.value.name in ESCAPES
    assert sys.getprofile() is None and sys.gettrace() is before
    assert threading.getprofile() is None
    assert "hide" in Report.refused(toy(), refused.value.name).message


def test_a_library_may_do_what_a_learner_may_not(tmp_path, monkeypatch):
    """A progress bar starts a thread, scikit-learn a program."""
    (tmp_path / "library.py").write_text(
        "import _thread, ctypes, subprocess, sys\n"
        "def work():\n"
        "    _thread.start_new_thread(int, ())\n"
        "    subprocess.run([sys.executable, '-c', ''])\n"
        "    return ctypes.pythonapi.Py_IncRef\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    library = importlib.import_module("library")
    packages = (*escaping._PACKAGES, str(tmp_path))
    monkeypatch.setattr(escaping, "_PACKAGES", packages)
    with watch([]):
        library.work()


def test_the_end_of_the_watch_is_noticed():
    """C code calls C code unseen; that the watch is gone is seen at its end."""
    with pytest.raises(ForbiddenCall, match="setprofile"), watch([]):
        next(map(sys.setprofile, [None]))


@pytest.mark.parametrize(
    "call",
    [
        lambda: next(map(torch.logsumexp, [X], [0])),
        lambda: functools.partial(torch.logsumexp, dim=0)(X),
        lambda: next(map(torch.Tensor.logsumexp, [X], [0])),
    ],
    ids=["map", "partial", "unbound"],
)
def test_a_built_in_function_that_c_code_calls_is_noticed(call):
    names = ["torch.logsumexp", "torch.Tensor.logsumexp"]
    with pytest.raises(ForbiddenCall, match="logsumexp"), watch(names):
        call()


def test_a_call_in_a_thread_is_noticed():
    def forbidden():
        try:
            torch.logsumexp(X, 0)
        except ForbiddenCall:
            seen.append("refused")

    seen = []
    with pytest.raises(ForbiddenCall), watch(["torch.logsumexp"]):
        thread = threading.Thread(target=forbidden)
        thread.start()
        thread.join()
    assert seen == ["refused"]


def test_an_honest_thread_is_let_be():
    seen = []
    with watch(["torch.logsumexp"]):
        thread = threading.Thread(target=lambda: seen.append(X.sum()))
        thread.start()
        thread.join()
    assert seen


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_ends_at_what_is_forbidden():
    with watch(["torch.logsumexp"]):
        pid = os.fork()
        if pid == 0:
            try:
                torch.logsumexp(X, 0)
            finally:
                os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 70


def test_watching_runs_no_code_of_an_answers_objects():
    """While the watch looks at a call, it is blind."""

    class Globals(dict):
        def get(self, *_):
            raise AssertionError

    class Meta(type):
        __mro__ = property(lambda cls: 1 / 0)

        def __hash__(cls):
            raise AssertionError

    class Odd(list, metaclass=Meta):
        pass

    code = (lambda: 1).__code__
    function = type(doubled)(code, Globals(__name__="x", __builtins__={}))
    with watch(["torch.Tensor.logsumexp"]):
        assert function() == 1
        Odd().append(1)


def test_whom_a_refusal_is_about():
    probe = get("losses.label_smoothing_ce").probe
    assert blames_another(probe, "tlcourse.losses.cross_entropy")
    assert not blames_another(probe, probe.forbid[0])
    assert not blames_another(probe, "torch.nn.functional.nll_loss")
    assert not blames_another(probe, None)


def endless(x):
    return endless(x)


def test_an_endless_recursion_is_the_answers_own_error():
    run = observe(toy().probe, endless, PROBE.make(0), guarded=True)
    assert run.forbidden is None
    assert {o.raised.type for o in run.observations} == {"RecursionError"}


def test_a_recursion_does_not_end_the_watch():
    def hides(x):
        if len(x) == 3:  # the first case
            endless(x)
        return torch.logsumexp(x, 0)

    def hides_at_once(x):
        try:
            endless(x)
        except RecursionError:
            return torch.logsumexp(x, 0)

    exercise = toy(forbid=("torch.logsumexp",))
    for answer in (hides, hides_at_once):
        run = observe(exercise.probe, answer, PROBE.make(0), guarded=True)
        assert run.forbidden
