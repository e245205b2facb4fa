import json
import sys

import pytest
from jupyter_client.kernelspec import KernelSpecManager
from typer.testing import CliRunner

from tlcourse.cli.kernels import app
from tlcourse.sandbox import kernelspec


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    """A throw-away environment to install into."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    return tmp_path / "share" / "jupyter" / "kernels"


@pytest.fixture(params=["linux", "darwin"])
def system(request, monkeypatch):
    monkeypatch.setattr(sys, "platform", request.param)
    return request.param


def run(*words: str) -> str:
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0
    return " ".join(done.output.split())


def test_install_and_remove(environment, system):
    said = run("install")
    found = KernelSpecManager(kernel_dirs=[str(environment)]).get_kernel_spec(
        "tlcourse-warm"
    )
    assert found.argv[0] == sys.executable
    warm = "kernel_provisioner" in found.metadata
    assert warm == (system == "linux")
    assert ("an ordinary kernel" in said) == (not warm)
    assert ("Linux" in said) == (not warm)
    assert run("remove") == "Removed tlcourse-warm."
    assert list(environment.iterdir()) == []
    assert run("remove") == "There is no kernel tlcourse-warm."


def test_the_named_provisioner_is_an_entry_point():
    from importlib.metadata import entry_points

    from tlcourse.sandbox.provisioner import NAME, WarmProvisioner

    (found,) = entry_points(group="jupyter_client.kernel_provisioners", name=NAME)
    assert found.load() is WarmProvisioner
    assert kernelspec.NAME == NAME


@pytest.mark.parametrize("text", ["{}", "no JSON", '{"metadata": {}}', "[]"])
def test_another_kernel_is_neither_replaced_nor_removed(environment, text):
    theirs = environment / "theirs" / "kernel.json"
    theirs.parent.mkdir(parents=True)
    theirs.write_text(text)
    for change in (kernelspec.install, kernelspec.remove):
        with pytest.raises(kernelspec.KernelNameTaken, match="theirs"):
            change("theirs")
    assert theirs.read_text() == text


@pytest.mark.parametrize("name", ["", "../python3", "Warm", "a b", ".hidden"])
def test_what_cannot_be_a_kernels_name(name):
    with pytest.raises(kernelspec.KernelNameTaken, match="a-z"):
        kernelspec.install(name)


def test_installing_twice_is_installing(environment):
    first = kernelspec.install()
    (first / "kernel.json").write_text(json.dumps({"metadata": {"tlcourse": True}}))
    assert kernelspec.install() == first
    assert "argv" in json.loads((first / "kernel.json").read_text())
