"""For everything pytest runs, notebooks included: one thread, no network, and a
throw-away progress folder."""

import os
import tempfile
from importlib.metadata import entry_points
from pathlib import Path

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


def pytest_configure(config):
    """Notebooks run on warm kernels, and on ordinary ones where those are missing.

    `--nbval-kernel-name python3` asks for ordinary ones. Workers of xdist inherit both
    the folder and the option.
    """
    from tlcourse.sandbox.kernelspec import NAME, can_fork, write_kernelspec

    group = "jupyter_client.kernel_provisioners"
    there = can_fork() and entry_points(group=group, name=NAME)
    if there and not config.option.nbval_kernel_name:
        folder = tempfile.mkdtemp(prefix="tlcourse-kernels-")
        write_kernelspec(Path(folder, "kernels"))
        path = os.environ.get("JUPYTER_PATH")
        os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, (folder, path)))
        config.option.nbval_kernel_name = NAME
