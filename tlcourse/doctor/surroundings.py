"""Device, threads, kernel, nbgrader, progress folder and disk."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tlcourse import runtime
from tlcourse.course import NotInCourse, root
from tlcourse.doctor.finding import Finding, Level, short

FAIL_GB, NOTE_GB = 0.2, 2.0


def hardware() -> Iterator[Finding]:
    """Device and number of threads."""
    for what in (_device, _threads):
        try:
            yield Finding("OK", what())
        except ValueError as error:
            yield Finding("FAIL", str(error), "Unset the variable, or mend its value.")


def _device() -> str:
    return f"device: {runtime.device()}"


def _threads() -> str:
    return f"threads: {runtime.num_threads()} of {os.cpu_count()} cores"


def kernel() -> Iterator[Finding]:
    """The notebook kernel ``python3`` is there and starts this very Python."""
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    mend = f"Run `{sys.executable} -m ipykernel install --sys-prefix`."
    try:
        spec = KernelSpecManager().get_kernel_spec("python3")
    except NoSuchKernel:
        yield Finding("FAIL", "there is no kernel named python3", mend)
        return
    program = spec.argv[0]
    # Jupyter replaces a bare name by the Python that it runs in itself.
    here = Path(sys.executable).parent
    if Path(program).name == program or Path(program).parent == here:
        yield Finding("OK", "kernel python3")
    else:
        what = f"kernel python3 starts {program}, not {sys.executable}"
        yield Finding("FAIL", what, f"Remove {spec.resource_dir}. {mend}")


def grader() -> Iterator[Finding]:
    """nbgrader is here and is set up for this course."""
    import nbgrader
    from traitlets.config.loader import PyFileConfigLoader

    try:
        config = PyFileConfigLoader("nbgrader_config.py", str(root())).load_config()
        source = config.CourseDirectory.source_directory
    except NotInCourse as error:
        yield Finding("FAIL", "the course folder was not found", str(error))
        return
    except Exception as error:
        mend = "Run `git checkout nbgrader_config.py` in the course folder."
        yield Finding("FAIL", f"nbgrader_config.py: {short(error)}", mend)
        return
    yield Finding("OK", f"nbgrader {nbgrader.__version__}, assignments from {source}/")


def progress_kept() -> Iterator[Finding]:
    """Progress can be written, and what was written can be read."""
    from tlcourse.exercises import store

    path = store.progress_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        what = f"progress cannot be saved in {path.parent} ({error.strerror})"
        mend = "Set TLCOURSE_HOME to a folder that you may write to."
        yield Finding("FAIL", what, mend)
    else:
        yield Finding("OK", f"progress is kept in {path.parent}")
    bad = store.events()[1]
    if bad:
        what = f"{bad} line{'s' * (bad > 1)} of {path} cannot be read and do not count"
        yield Finding("NOTE", what, "The rest counts; nothing needs to be done.")


def disk() -> Iterator[Finding]:
    """There is room on the disk of the working folder."""
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    what = f"{free:.1f} GB free on the disk"
    if free >= NOTE_GB:
        yield Finding("OK", what)
        return
    level: Level = "FAIL" if free < FAIL_GB else "NOTE"
    yield Finding(level, what, f"Make room: {NOTE_GB:g} GB are comfortable.")
