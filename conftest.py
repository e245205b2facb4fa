"""For everything pytest runs, notebooks included: one thread, no network, and a
throw-away progress folder."""

import os
import tempfile

for name, value in {
    "OMP_NUM_THREADS": "1",
    "TLCOURSE_THREADS": "1",
    "TLCOURSE_DEVICE": "cpu",
    "HF_HUB_OFFLINE": "1",
    "MPLBACKEND": "agg",
}.items():
    os.environ.setdefault(name, value)
os.environ["TLCOURSE_HOME"] = tempfile.mkdtemp(prefix="tlcourse-tests-")
