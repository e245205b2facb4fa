"""For everything pytest runs, notebooks included: one thread, no network, and a
throw-away progress folder."""

import os
import tempfile

NOWHERE = "http://127.0.0.1:9"  # a port where nothing listens: the network is cut

for name, value in {
    "OMP_NUM_THREADS": "1",
    "TLCOURSE_THREADS": "1",
    "TLCOURSE_DEVICE": "cpu",
    "HF_HUB_OFFLINE": "1",
    "MPLBACKEND": "agg",
}.items():
    os.environ.setdefault(name, value)
for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
    os.environ[name] = NOWHERE
os.environ["no_proxy"] = os.environ["NO_PROXY"] = "127.0.0.1,localhost"
os.environ["TLCOURSE_HOME"] = tempfile.mkdtemp(prefix="tlcourse-tests-")
