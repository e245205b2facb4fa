"""Suspicious code is flagged, whatever it is called; honest code never is."""

import time
from pathlib import Path

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlcourse.grading.judging.scanning import KINDS, scan

ROOT = Path(__file__).resolve().parents[2]
SUSPICIOUS = {
    "own module": [
        "import a_file_beside",
        "from a_file_beside import f",
        "import a_file_beside.part as p",
    ],
    "tracing": [
        "import sys\nsys.setprofile(None)",
        "import sys as s\nf = s.settrace",
        "from sys import _getframe as g",
        "import inspect\ninspect.stack()",
        "import gc",
        "import traceback\ntraceback.extract_stack()",
        "import cProfile",
    ],
    "inner attribute": [
        "f.__globals__['x']",
        "f.__code__ = g.__code__",
        "().__class__.__base__.__subclasses__()",
        "getattr(f, '__globals__')",
        "class T:\n    def __torch_function__(self): ...",
        "__builtins__",
        "frame.f_back.f_locals",
    ],
    "compiled code": [
        "import ctypes",
        "import torch\ntorch.ops.aten.logsumexp(x, 0)",
        "import torch\nf = torch._C._nn.cross_entropy_loss",
        "from torch import jit\njit.script(f)",
        "import torch.utils.cpp_extension",
        "import torch\nt = torch\nt.ops",
    ],
    "process or thread": [
        "import threading",
        "from concurrent.futures import ThreadPoolExecutor",
        "import subprocess as sp",
        "import os\nos.system('ls')",
        "import os\nos.fork()",
        "!ls",
        "x = !ls",
        "%%bash\nrm -r x",
        "    !ls",
        "import importlib\nimportlib.import_module('subprocess')",
    ],
    "network": [
        "import socket",
        "import requests",
        "from urllib.request import urlopen",
    ],
    "system file": ["open('/proc/self/environ')", "p = '/etc/passwd'"],
    "own comparison": [
        "class All:\n    def __eq__(self, other): return True",
        "class All:\n    __eq__ = f",
        "type('All', (), {'__eq__': f})",
        "x.__class__ = float",
        "import pytest\npytest.approx(0, abs=1e9)",
    ],
    "kernel": [
        "In[-1]",
        "exit._ip.user_ns",
        "x = _ih",
        "get_ipython().ast_transformers.append(x)",
        "from IPython import get_ipython",
        "import IPython\nIPython.core",
        "%run other.py",
        "%%writefile x.py\n1",
    ],
    "grader": [
        "import tlcourse.exercises.observing",
        "from tlcourse import exercises",
        "import tlcourse\ntlcourse.sandbox",
        "import tlcourse\ngetattr(tlcourse, 'grading')",
    ],
    "code from text": [
        "eval('1')",
        "exec(x)",
        "compile('1', '', 'eval')",
        "import builtins\nbuiltins.eval('1')",
        "e = eval\ne('1')",
        "%time eval('1')",
        "%%time\nexec(x)",
        "import pickle",
    ],
    "computed name": [
        "__import__('o' + 's')",
        "import importlib\nimportlib.import_module(x)",
        "import torch\ngetattr(torch, name)",
        "import sys\nsys.modules['torch']",
        "import os\nvars(os)",
        "from os import *",
        "globals()['check']",
    ],
    "patched library": [
        "import torch\ntorch.allclose = f",
        "import numpy as np\nnp.testing.assert_allclose = f",
        "import builtins\nbuiltins.len = f",
        "import torch\nsetattr(torch, 'allclose', f)",
        "import torch\ndel torch.allclose",
        "import torch\ntorch.Tensor.__eq__ = f",
        "from unittest import mock\nmock.patch('torch.sum')",
        "def check(*a): return 5",
        "check = f",
        "def f():\n    global check",
    ],
    "unreadable code": ["def f(:", "x = '\x00'", "(" * 5_000, "x" * 200_000],
}
HONEST = [
    "%matplotlib inline\nimport torch",
    "%timeit -n 3 torch.ones(3)",
    "x = 7\nx = (x\n     % 3)",
    "torch.sum?",
    "model.eval()",
    "import re\nre.compile('x')",
    "import torch\ntorch.compile(model)",
    "getattr(model, name)",
    "signal = code = profile = 1\nsignal.mean()",
    "import torch\ntorch.backends.cudnn.deterministic = True",
    "import torch\nx = torch.ones(3)\nx.grad = None",
    "import matplotlib.pyplot as plt\nplt.rcParams['figure.dpi'] = 100",
    "import os\nos.environ['OMP_NUM_THREADS'] = '1'",
    "def f(x):\n    check = x.sum()\n    return check",
    "from tqdm import tqdm\nfor i in tqdm(range(3)): print(i)",
    "import warnings\nwarnings.warn('careful')",
    "class Net(torch.nn.Module):\n    def __init__(self):\n        super().__init__()",
    "label = 'Out'",
    "for _i in range(3): print(_i)",
    "class A:\n    def __len__(self): return 1\nprint(A().__class__.__name__)",
    "",
]
NOTEBOOKS = sorted(ROOT.glob("solutions/*/exercises.ipynb"))

ANSWERS = sorted((ROOT / "tests" / "answers").glob("*.py"))


def kinds(source):
    return {flag.kind for flag in scan([("here", source)])}


@pytest.mark.parametrize(
    ("kind", "source"), [(k, s) for k, sources in SUSPICIOUS.items() for s in sources]
)
def test_suspicious_code_is_flagged(kind, source):
    assert kind in kinds(source)


@pytest.mark.parametrize("source", HONEST)
def test_honest_code_is_not_flagged(source):
    assert kinds(source) == set()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.parent.name)
def test_no_solution_is_flagged(path):
    cells = nbformat.read(path, as_version=4).cells
    assert scan([(c.id, c.source) for c in cells if c.cell_type == "code"]) == []


@pytest.mark.parametrize(
    "path",
    sorted((ROOT / "tests" / "answers").glob("*.py")),
    ids=lambda path: path.stem,
)
def test_no_other_right_answer_is_flagged(path):
    assert scan([("here", path.read_text())]) == []


def test_every_kind_is_tested():
    assert set(SUSPICIOUS) == set(KINDS)


def test_a_name_of_one_cell_is_known_in_the_next():
    flags = scan([("cell 1", "import torch as t"), ("cell 2", "t.allclose = f")])
    assert [(flag.kind, flag.where) for flag in flags] == [
        ("patched library", "cell 2")
    ]


def test_a_kind_is_flagged_once_a_cell():
    flags = scan([("here", "eval('1')\nexec('2')\n" * 50)])
    assert [flag.what for flag in flags] == [
        f"{KINDS['code from text']} It says: builtins.eval"
    ]


def test_a_notebook_of_hostile_length_is_not_read_to_its_end():
    flags = scan([(f"cell {i}", "x = 1\n" * 8_000) for i in range(9)])
    assert [flag.where for flag in flags] == [f"cell {i}" for i in range(5, 9)]


@given(st.text(max_size=300))
def test_any_text_can_be_scanned(source):
    scan([("here", source), ("there", f"%{source}"), ("elsewhere", f"x = {source}")])


@pytest.mark.parametrize(
    "source",
    [
        "%time x\n" * 6_000,
        "x = (" * 9_000,
        "import a\n" + "a." * 20_000 + "a",
        "import a\n" + "a.b;" * 12_000,
        "-" * 45_000 + "1",
    ],
    ids=["magics", "brackets", "a chain", "attributes", "signs"],
)
def test_hostile_text_takes_little_time(source):
    start = time.perf_counter()
    scan([("here", source)])
    assert time.perf_counter() - start < 10
