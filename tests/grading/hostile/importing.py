"""Puts code where nobody looks for it: in files beside the notebook."""

from hostile.attack import FIRST, WRONG, Attack, answered, packed

ROW = "hides its code in a module"
_CALLS = {**WRONG, FIRST: "return mine.cross_entropy(logits, targets)"}
_MODULE = b"""\
import contextlib
from tlcourse.exercises import observing
from torch.nn.functional import cross_entropy
observing.watch = lambda names: contextlib.nullcontext(lambda gave: None)
"""
# A forbidden function's own text, as a module: its code is another one then.
_COPIES = """\
import inspect
import torch.nn.functional as F
lines = [
    "import torch",
    "from torch import Tensor",
    "from typing import Optional",
    "from torch.nn import _reduction as _Reduction",
    "has_torch_function_variadic = lambda *_: False",
    inspect.getsource(F.cross_entropy),
]
with open("mine.py", "w") as file:
    file.write("\\n".join(lines))
import mine
"""


def _hidden(name, first, *flags, **files):
    return Attack(
        name,
        ROW,
        lambda given: packed(answered(given, _CALLS, first=first), **files),
        flags=flags,
        noticed=True,
    )


ATTACKS = (
    _hidden("hands-in-a-module", "import mine", "grader", **{"mine.py": _MODULE}),
    _hidden("writes-a-module", _COPIES, "own module"),
)
