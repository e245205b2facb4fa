"""Notebooks in real kernels: what is kept, what is cut, and what ends a kernel.

The kernels are warm but not isolated; what the sandbox forbids is tested elsewhere.
"""

import asyncio
import json

import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tlcourse.grading.running import kernels as talking
from tlcourse.grading.running.cells import MOST_KERNELS, MOST_OUTPUTS, NotebookRun
from tlcourse.grading.running.kernels import Kernel, StartFailed
from tlcourse.grading.running.planning import Clock, Plan
from tlcourse.sandbox.limits import Limits
from tlcourse.sandbox.server import ForkServer

SILENT = """\
kernel = get_ipython().kernel
kernel.shell_handlers["kernel_info_request"] = lambda *_: None
content = {"name": "stdout", "text": "x" * 40_000_000}
kernel.session.send(kernel.iopub_socket, "stream", content, parent=kernel.get_parent())
"""
PARTS = """\
import time, zmq
thread = get_ipython().kernel.iopub_thread
part = zmq.Frame(b"x" * 30 * 2**20)
thread.schedule(lambda: thread.socket.send_multipart([part] * 20, copy=False))
thread.flush()
time.sleep(0.5)
"""
LIMITS = Limits(cell_seconds=6, total_seconds=60, output_bytes=2_000)


@pytest.fixture(scope="module")
def begin(tmp_path_factory):
    """Makes kernels of one server; where they work is thrown away."""
    folder = str(tmp_path_factory.mktemp("work"))
    with ForkServer() as server:
        yield lambda: Kernel(server.kernel_manager(), folder)


def run(begin, *sources, limits=LIMITS, tests=(), clock=None):
    """The finished run of a notebook made of these cells."""
    cells = [new_code_cell(source) for source in sources]
    plan = Plan(tests=frozenset(tests))
    clock = clock or Clock(limits.total_seconds)
    done = NotebookRun(
        new_notebook(cells=cells),
        plan,
        begin,
        limits,
        clock,
        Clock(limits.total_seconds),
    )
    asyncio.run(done.run())
    return done


def statuses(done):
    return [ran.status for ran in done.runs.values()]


def text(done, index):
    return json.dumps(done.cells[index].outputs)


@pytest.fixture(scope="module")
def honest(begin):
    """One notebook with what honest notebooks do."""
    return run(
        begin,
        "%matplotlib inline\nimport matplotlib.pyplot as plt, asyncio, warnings, sys",
        "plt.plot([1, 2])\nplt.show()",
        "warnings.warn('old', DeprecationWarning); print('note', file=sys.stderr)",
        "from tqdm import tqdm\nfor i in tqdm(range(5)): pass",
        "await asyncio.sleep(0)\n'awaited'",
        "!echo from a shell",
        "name = input('Who? ')",
        "40 + 2",
        "assert _ == 42 and Out[8] == 42 and In[8] == '40 + 2'",
        limits=LIMITS.model_copy(update={"output_bytes": 100_000}),
        tests=[8],
    )


@pytest.mark.parametrize("index", [0, 1, 2, 3, 4, 5, 7, 8])
def test_honest_cells_do_not_fail(honest, index):
    assert not honest.runs[index].failed, text(honest, index)


@pytest.mark.parametrize(
    ("index", "shown"),
    [
        (1, "image/png"),
        (2, "DeprecationWarning"),
        (3, "100%"),
        (4, "awaited"),
        (5, "from a shell"),
        (6, "StdinNotImplementedError"),
        (7, '"text/plain": "42"'),
    ],
)
def test_honest_cells_show_what_they_show(honest, index, shown):
    assert shown in text(honest, index)


def test_canaries_leave_no_trace(honest):
    """The last cell asks for ``_``, ``Out`` and ``In``, with canaries around it."""
    assert not honest.runs[8].subverted
    assert honest.cells[8].execution_count == 9


def test_a_cell_that_ends_python_costs_itself_alone(begin):
    done = run(
        begin,
        "x = 1",
        "print('last words', flush=True); import os; os._exit(3)",
        "x + 1",
    )
    assert statuses(done) == ["run", "ended", "run"]
    assert done.runs[1].why == "ended Python (exit 3)"
    assert "KernelEnded" in text(done, 1)
    assert done.runs[2].values == ("2",)


def test_a_crash_in_c_is_an_end(begin):
    done = run(begin, "import ctypes; ctypes.string_at(0)", "1")
    assert (statuses(done), done.runs[0].why) == (
        ["ended", "run"],
        "ended Python (signal 11)",
    )


def test_outputs_of_the_first_run_stay(begin):
    done = run(begin, "print('once')", "import os; os._exit(1)", "2")
    assert text(done, 0).count("once") == 1


QUICK = LIMITS.model_copy(update={"cell_seconds": 0.7})


def test_a_loop_is_interrupted_and_its_kernel_lives_on(begin):
    done = run(begin, "x = 1", "x = 2\nwhile True: pass", "x", limits=QUICK)
    assert statuses(done) == ["run", "late", "run"]
    assert "CellTimeoutError" in text(done, 1)
    assert done.runs[2].values == ("2",)


def test_a_loop_that_ignores_interrupts_is_ended(begin, monkeypatch):
    monkeypatch.setattr(talking, "GRACE_SECONDS", 0.5)
    ignore = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
    stubborn = f"x = 2; {ignore}\nwhile True: pass"
    done = run(begin, "x = 1", stubborn, "x", limits=QUICK)
    assert statuses(done) == ["run", "late", "run"]
    assert done.runs[2].values == ("1",)


def test_when_the_time_is_up_the_rest_is_not_run(begin):
    clock = Clock(0.8)
    done = run(begin, "1", "while True: pass", "2", "3", clock=clock)
    assert statuses(done) == ["run", "late", "not run", "not run"]
    assert "time for the whole submission" in done.runs[2].why


def test_every_cell_kills(begin, monkeypatch):
    """Each fresh kernel costs time: after some there is no other."""
    monkeypatch.setattr("tlcourse.grading.running.cells.MOST_KERNELS", 3)
    done = run(begin, *["import os; os._exit(1)"] * 5)
    assert statuses(done) == ["ended"] * 3 + ["not run"] * 2
    assert MOST_KERNELS > 3


def test_quit_ends_the_kernel_and_costs_its_cell(begin):
    done = run(begin, "x = 1", "x = 2; quit()", "x")
    assert statuses(done) == ["run", "ended", "run"]
    assert done.runs[2].values == ("1",)


def test_an_end_that_comes_later_is_seen_and_the_run_comes_to_its_end(begin):
    """It costs the cell that runs then, and again where the cell is run again."""
    bomb = "import threading, os; threading.Timer(0.01, os._exit, (9,)).start()"
    done = run(begin, "x = 1", f"{bomb}; x = 2", "import time; time.sleep(0.5)", "x")
    assert len(done.runs) == 4
    assert "ended" in statuses(done)


def test_a_hundred_megabytes_on_a_line_are_cut(begin):
    done = run(begin, "x = 1\nprint('x' * 100_000_000)", "print('next'); x")
    assert statuses(done) == ["run", "run"]
    assert done.runs[0].cut
    assert "Too much output" in text(done, 0)
    assert "next" in text(done, 1)


def test_a_flood_ends_the_kernel(begin, monkeypatch):
    monkeypatch.setattr(talking, "FLOOD", 1_000_000)
    done = run(begin, "while True: print('x' * 1_000, flush=True)", "1")
    assert statuses(done) == ["ended", "run"]
    assert done.runs[0].why == "printed more than is allowed"
    assert len(text(done, 0)) < 4_000


def test_an_error_that_was_hidden_is_an_error(begin):
    """The reply says so, whatever the outputs say."""
    hide = "get_ipython().showtraceback = lambda *a, **k: None"
    done = run(begin, hide, "1/0")
    assert done.runs[1].failed
    assert "ZeroDivisionError" in text(done, 1)


FORGED = """
kernel = get_ipython().kernel
def send(kind, content, **more):
    kernel.session.send(
        kernel.iopub_socket, kind, content, parent=kernel.get_parent(), **more)
"""


def test_malformed_messages_do_nothing(begin):
    """Missing keys, wrong types, deep nesting, unsigned frames, replies of others."""
    done = run(
        begin,
        FORGED,
        "deep = []\n"
        "for _ in range(900): deep = [deep]\n"
        "for content in ({}, {'data': 5}, {'name': [], 'text': {}}, {'data': {'text/"
        "plain': [1]}}, {'traceback': 'x', 'ename': 1}, {'execution_state': []},"
        " {'transient': {'display_id': []}}, {'data': deep}):\n"
        "    for kind in ('stream', 'display_data', 'error', 'update_display_data',\n"
        "                 'clear_output', 'comm_open', 'status', 'nonsense'):\n"
        "        if kind != 'error': send(kind, content)\n"
        "kernel.iopub_socket.send_multipart([b'x'] * 3)\n"
        "kernel.iopub_socket.send_multipart([b'<IDS|MSG>', b'', b'{', b'{', b'', b''])",
        "print('well')",
    )
    assert not done.runs[1].failed, text(done, 1)
    assert "well" in text(done, 2)


def test_forged_results_do_not_hide_the_real_one(begin):
    forged = "send('execute_result', {'data': {'text/plain': '7'}, 'metadata': {}, "
    forged += "'execution_count': 1}); send('clear_output', {})\n2.0"
    done = run(begin, FORGED, forged)
    assert sorted(done.runs[1].values) == ["2.0", "7"]


DROPS_ASSERTS = """
import ast
class Drop(ast.NodeTransformer):
    def visit_Assert(self, node):
        return ast.Pass()
get_ipython().ast_transformers.append(Drop())
"""
FORGETS_ERRORS = """
shell = get_ipython()
honest = shell.run_cell_async
async def forgiving(source, **kind):
    result = await honest(source, **kind)
    result.error_in_exec = None
    return result
shell.run_cell_async = forgiving
shell.should_run_async = lambda *a, **k: True
"""
REPLACES_VALUES = """
from IPython.core.displayhook import DisplayHook
hook = get_ipython().displayhook
compute = hook.compute_format_data
hook.compute_format_data = lambda result: ({'text/plain': '9'}, {})
"""
PATCHES_NUMPY = "import numpy.testing as t\nt.assert_equal = lambda *a, **k: None"
SHADOWS_ALL = "def all(values):\n    return True"
TEST = """\
import numpy as np
np.testing.assert_equal(1, 2)
assert all([1 == 2])
2.0
"""


@pytest.mark.parametrize(
    "attack",
    [DROPS_ASSERTS, FORGETS_ERRORS, REPLACES_VALUES, PATCHES_NUMPY, SHADOWS_ALL],
    ids=["asserts", "errors", "values", "numpy", "all"],
)
def test_canaries_notice(begin, attack):
    done = run(begin, attack, TEST, "assert True", tests=[1, 2])
    assert not done.runs[0].failed, text(done, 0)
    assert [done.runs[i].subverted for i in (1, 2)] == [True, True]


DROPS_ITS_OWN = """
import ast
class Drop(ast.NodeTransformer):
    def visit_Assert(self, node):
        return ast.Pass() if "double" in ast.unparse(node) else node
get_ipython().ast_transformers.append(Drop())
def double(x):
    return 0
"""
EQUALS_ALL = """
class Everything:
    def __eq__(self, other):
        return True
def double(x):
    return Everything()
"""


@pytest.mark.parametrize("attack", [DROPS_ITS_OWN, EQUALS_ALL], ids=["own", "equal"])
def test_a_test_turned_round_notices(begin, attack):
    done = run(begin, attack, "assert double(2) == 4", tests=[1])
    assert not done.runs[1].failed
    assert done.runs[1].subverted


def test_an_honest_mistake_is_no_subversion(begin):
    """A beginner's ``sum = 0`` breaks the test, and that is all."""
    done = run(begin, "sum = 0", "assert sum([1]) == 1\n1.5", tests=[1])
    assert (done.runs[1].failed, done.runs[1].subverted) == (True, False)


def test_a_server_that_is_gone_is_the_graders_failure(tmp_path):
    with ForkServer() as server:
        manager = server.kernel_manager()
        server._start = lambda: (_ for _ in ()).throw(RuntimeError("gone"))
        with pytest.raises(StartFailed):
            asyncio.run(Kernel(manager, str(tmp_path)).start())


def test_all_cells_together_show_no_more_than_a_few_may(begin):
    one = LIMITS.output_bytes - 200
    done = run(begin, *[f"print('x' * {one})"] * (MOST_OUTPUTS + 5))
    shown = sum(len(text(done, index)) for index in done.runs)
    assert shown < (MOST_OUTPUTS + 3) * LIMITS.output_bytes
    assert done.runs[MOST_OUTPUTS + 4].cut


def test_a_kernel_that_falls_silent_costs_the_cell_that_silenced_it(begin, monkeypatch):
    monkeypatch.setattr(talking, "ANSWER_SECONDS", 1.0)
    done = run(begin, "print('first')", SILENT, "print('third')")
    assert statuses(done) == ["run", "ended", "run"]
    assert "third" in text(done, 2)


def test_one_message_of_many_parts_does_not_fill_the_grader(begin, monkeypatch):
    monkeypatch.setattr(talking, "GROWTH", 2**27)
    done = run(begin, PARTS, "print('after')")
    assert done.runs[0].status == "ended"
    assert "after" in text(done, 1)
