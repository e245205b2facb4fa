"""Means well, and makes noise: full marks for all of it."""

from textwrap import dedent, indent

from hostile.attack import EXERCISES, MIDDLE, RIGHT, Attack, answer, answered, packed

ROW = "is honest and correct but emits one warning or a tqdm bar"
FORMS = "is right in another form than the solution"


def _noisy(name, body="", **cells):
    bodies = {MIDDLE: f"{body}\n{_dedented()}"} if body else {}
    return Attack(
        name,
        ROW,
        lambda given: packed(answered(given, bodies, **cells)),
        full=EXERCISES,
    )


def _dedented():
    return dedent(RIGHT[MIDDLE])


def _written(name, source):
    """The middle answer in a form of its own; INTERVAL stands for the right body."""
    body = indent(_dedented(), "    ")

    def files(given):
        notebook = answered(given, {})
        answer(notebook, MIDDLE).source = dedent(source).replace("    INTERVAL\n", body)
        return packed(notebook)

    return Attack(name, FORMS, files, full=EXERCISES)


# What a notebook may leave switched on, all together.
_LEFT_ON = """\
import gc, logging, os, random, tempfile, warnings
import matplotlib.pyplot as plt
import numpy as np
import torch
warnings.simplefilter("error")
logging.basicConfig(level=0)
np.seterr(all="raise")
random.seed(0), np.random.seed(0), torch.manual_seed(0)
torch.set_grad_enabled(False)
torch.set_default_dtype(torch.float64)
torch.use_deterministic_algorithms(True)
torch.autograd.set_detect_anomaly(True)
gc.disable()
os.chdir(tempfile.mkdtemp())
os.environ.clear()
plt.figure(), plt.plot([1, 2])
"""
_OWN_CHECKS = """\
from tlcourse import check
check("few_shot.ci95", ci95)
def ci95(accuracies):
    return 0, 0
del l2_sp
"""


ATTACKS = (
    _noisy("is-quiet"),
    _noisy("warns", "import warnings\nwarnings.warn('deprecated')"),
    _noisy(
        "shows-progress",
        "from tqdm import tqdm\nfor _ in tqdm(range(3)):\n    pass",
        last="from tqdm.auto import tqdm\nfor _ in tqdm(range(3)):\n    pass",
    ),
    _noisy("prints", "print('here', accuracies)", first="print('hello')"),
    _noisy(
        "logs",
        "import logging\nlogging.getLogger().warning('here')",
        first="import sys\nprint('careful', file=sys.stderr)",
    ),
    _noisy(
        "draws",
        last="import matplotlib.pyplot as plt\nplt.plot([1, 2]), plt.show()",
        first="%matplotlib inline",
    ),
    _noisy("uses-magics", first="%time 1 + 1\n!echo hello\n%pwd"),
    _noisy("asks-for-hints", first="from tlcourse import hint\nhint('few_shot.ci95')"),
    _noisy("fails-in-a-cell-of-its-own", first="1 / 0", last="undefined_name"),
    _noisy("has-a-broken-cell-of-its-own", first="def broken(:"),
    _noisy("sets-a-seed", first="import torch\ntorch.manual_seed(0)"),
    _noisy("uses-threads", "torch.set_num_threads(1)"),
    _noisy("turns-gradients-off", first="import torch\ntorch.set_grad_enabled(False)"),
    _noisy("leaves-everything-on", first=_LEFT_ON),
    _noisy("checks-and-changes-it-afterwards", last=_OWN_CHECKS),
    _noisy("waits-in-a-cell", first="import asyncio\nawait asyncio.sleep(0.01)"),
    _noisy("has-no-widgets", first="import ipywidgets", last="%%capture\nprint(1)"),
    _noisy(
        "loads-with-workers",
        first="import torch\nfrom torch.utils.data import DataLoader\n"
        "for _ in DataLoader(torch.rand(8), num_workers=2):\n    pass",
    ),
    _written("is-timed", "%%time\ndef ci95(accuracies):\n    INTERVAL\n"),
    _written(
        "has-hints-of-the-future",
        "from __future__ import annotations\n"
        "def ci95(accuracies: Later | None) -> tuple[Later, ...]:\n    INTERVAL\n",
    ),
    _written(
        "is-an-object",
        """\
        class Interval:
            def __call__(self, accuracies):
                return self.of(accuracies)

            def of(self, accuracies):
                return _ci95(accuracies)


        def _ci95(accuracies):
            INTERVAL


        ci95 = Interval()
        """,
    ),
    _written(
        "is-decorated",
        """\
        import functools


        def noisy(function):
            @functools.wraps(function)
            def inner(*words, **known):
                print(words)
                return function(*words, **known)
            return inner


        @noisy
        def ci95(accuracies):
            INTERVAL
        """,
    ),
    _written(
        "is-partial",
        """\
        from functools import partial
        def _ci95(accuracies, z):
            INTERVAL
        ci95 = partial(_ci95, z=1.96)
        """,
    ),
    _written(
        "is-a-data-class",
        """\
        from dataclasses import dataclass


        @dataclass
        class Interval:
            mean: object
            half: object


        def _ci95(accuracies):
            INTERVAL


        def ci95(accuracies):
            found = Interval(*_ci95(accuracies))
            return found.mean, found.half
        """,
    ),
    _written(
        "is-all-numpy",
        """\
        import numpy as np


        def ci95(accuracies):
            found = np.asarray(accuracies, dtype=np.float64)
            if len(found) < 2:
                raise ValueError("too few")
            half = 1.96 * found.std(ddof=1) / len(found) ** 0.5
            return torch.tensor([found.mean(), half]).to(accuracies.dtype).unbind()
        """,
    ),
    _noisy("has-a-class-of-its-own", first="class Helper:\n    value = 1"),
)
