"""Means well, and makes noise: full marks for all of it."""

from hostile.attack import EXERCISES, MIDDLE, RIGHT, Attack, answered, packed

ROW = "is honest and correct but emits one warning or a tqdm bar"


def _noisy(name, body="", **cells):
    bodies = {MIDDLE: f"{body}\n{_dedented()}"} if body else {}
    return Attack(
        name,
        ROW,
        lambda given: packed(answered(given, bodies, **cells)),
        full=EXERCISES,
    )


def _dedented():
    from textwrap import dedent

    return dedent(RIGHT[MIDDLE])


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
    _noisy("has-a-class-of-its-own", first="class Helper:\n    value = 1"),
)
