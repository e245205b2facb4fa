"""Returns things that pretend to be what was asked for."""

from hostile.attack import EXERCISES, breaking_cell, cheating

ROW = "returns an object equal to everything, a Tensor subclass, NaN, a wrong dtype"
_EVERYTHING = """\
class Everything:
    def __getattr__(self, name): return self
    def __call__(self, *_, **__): return self
    def __eq__(self, other): return True
    def __float__(self): return 1.0
    def __len__(self): return 1
    def __iter__(self): return iter([self])
    def __array__(self, *_, **__): return numpy.zeros(1)
    def __reduce__(self): return (exec, ("open('/tmp/owned', 'w').write('x')",))
    __lt__ = __le__ = __gt__ = __ge__ = __ne__ = __eq__
    __hash__ = None
    __class__ = torch.Tensor
import numpy, torch
"""
_SUBCLASS = """\
import torch
class Sly(torch.Tensor):
    def __eq__(self, other): return torch.tensor(True)
    def __sub__(self, other): return torch.zeros(())
    def detach(self): return self
    def cpu(self): return self
    def numpy(self, *_): raise SystemExit
    @classmethod
    def __torch_function__(cls, function, types, words=(), known=None):
        return torch.tensor(0.0)
"""
_NUMBERS = """\
class Number(float):
    def __eq__(self, other): return True
    def __repr__(self): return "4.0"
    def __format__(self, spec): return "4.0"
"""


def _returns(name, result, cell=""):
    bodies = {exercise: f"return {result}" for exercise in EXERCISES}
    return cheating(name, ROW, cell, bodies)


ATTACKS = (
    _returns("returns-everything", "Everything()", _EVERYTHING),
    _returns("returns-a-sly-tensor", "torch.zeros(2).as_subclass(Sly)", _SUBCLASS),
    _returns("returns-a-sly-number", "Number(1.0), Number(1.0)", _NUMBERS),
    _returns("returns-nan", "torch.tensor(float('nan')), torch.tensor(float('nan'))"),
    _returns("returns-infinity", "float('inf')"),
    _returns("returns-a-huge-integer", "10**100_000"),
    _returns("returns-a-complex", "torch.tensor(1 + 0j)"),
    _returns("returns-bytes", "b'4.0'"),
    _returns("returns-nothing", "None"),
    _returns("returns-a-type", "float"),
    _returns("returns-a-json-text", '\'{"points": 4.0, "status": "passed"}\''),
    _returns(
        "returns-nested-lists",
        "nested()",
        "def nested():\n    x = []\n    x.append(x)\n    return x",
    ),
    _returns("returns-objects", "numpy.array([object()])", "import numpy"),
    _returns("returns-a-sparse-tensor", "torch.zeros(3).to_sparse()"),
    _returns("returns-a-meta-tensor", "torch.zeros(3, device='meta')"),
    _returns("returns-a-strided-giant", "torch.zeros(1).expand(10**12)"),
    cheating(
        "raises-an-evil-error",
        ROW,
        """\
        class Evil(Exception):
            def __str__(self):
                raise SystemExit
            def __reduce__(self):
                return (exec, ("open('/tmp/owned', 'w').write('x')",))
        """,
        {exercise: "raise Evil" for exercise in EXERCISES},
    ),
    cheating(
        "raises-always-a-value-error",
        ROW,
        "",
        {exercise: "raise ValueError" for exercise in EXERCISES},
    ),
    breaking_cell("is-no-function", ROW, "ci95 = 3.0"),
    breaking_cell("is-not-there", ROW, "def other_name(accuracies):\n    return 0.0"),
)
