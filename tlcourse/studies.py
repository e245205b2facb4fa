"""Studies: tables too big for a lesson, computed once and stored beside it.

A study is ``lessons/NN_slug/study.py`` with ``SEEDS``, ``METRICS``, ``arms()`` and
``run(arm, seed)``. Its results lie in ``results.json`` next to it, written only by
:func:`run_study`; a lesson plots them and runs one seed live.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from tlcourse.course import find_chapter, root
from tlcourse.metrics import Interval, mean_interval
from tlcourse.runtime import seed_everything

Arm = dict[str, Any]


class StudyError(RuntimeError):
    """Results are missing, broken, or made by another version of the study."""


@dataclass(frozen=True)
class Study:
    """The stored results of one study, and the code that made them."""

    folder: Path
    runs: tuple[dict[str, Any], ...]

    @cached_property
    def _module(self) -> ModuleType:
        return _load_module(self.folder)

    @property
    def arms(self) -> list[Arm]:
        """Every setting of the study."""
        return self._module.arms()

    def run(self, arm: Arm, seed: int) -> dict[str, float]:
        """Run one setting with one seed now."""
        return _run_one(self.folder, arm, seed)["metrics"]

    def values(self, metric: str, **arm: Any) -> np.ndarray:
        """One figure over all seeds, ``(num_seeds,)`` float64, in the seeds' order.

        Args:
            metric: a name in the study's ``METRICS``.
            **arm: all settings of an arm, or enough of them to select exactly one.

        Raises:
            ValueError: no arm, or more than one, has these settings.
        """
        fitting = [a for a in self.arms if all(a.get(k) == v for k, v in arm.items())]
        chosen = [a for a in fitting if a == arm] or fitting
        if len(chosen) != 1:
            raise ValueError(f"{arm} selects {len(chosen)} arms of {len(self.arms)}.")
        runs = sorted((r for r in self.runs if r["arm"] == chosen[0]), key=_seed)
        return np.array([r["metrics"][metric] for r in runs])

    def interval(self, metric: str, **arm: Any) -> Interval:
        """Mean over seeds with its 95 % t-interval."""
        return mean_interval(self.values(metric, **arm))

    def holds(self, metric: str, value: float, **arm: Any) -> bool:
        """Whether a new run's value fits the stored ones.

        It must lie in the 95 % prediction range mean ± t s sqrt(1 + 1/n), or within
        0.02 of the mean where the seeds agree more closely than machines do.
        """
        n = len(self.values(metric, **arm))
        mean, _, high = self.interval(metric, **arm)
        half = (high - mean) * (n + 1) ** 0.5  # t s / sqrt(n) times sqrt(n + 1)
        return abs(value - mean) <= max(half, 0.02)


def _seed(run: dict[str, Any]) -> int:
    return run["seed"]


def load_study(chapter: str) -> Study:
    """The stored study of a chapter (number, slug or folder).

    Raises:
        StudyError: there are no results, or the study has changed since.
    """
    folder = root() / "lessons" / find_chapter(chapter).folder
    stored = _read(folder / "results.json")
    if stored.get("study") != fingerprint(folder):
        raise StudyError(
            f"{folder / 'results.json'} was not made by today's study.py; "
            f"run `tlcourse study {folder.name[:2]}`."
        )
    return Study(folder, tuple(stored["runs"]))


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StudyError(
            f"{path} is missing; run `tlcourse study {path.parent.name[:2]}`."
        ) from error
    except ValueError as error:
        raise StudyError(f"{path} is not JSON ({error}); move it away.") from error


def fingerprint(folder: Path) -> str:
    """Hash of the study's syntax tree: comments and layout do not count."""
    tree = ast.parse((folder / "study.py").read_text(encoding="utf-8"))
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16]


def run_study(chapter: str, workers: int = 1) -> Path:
    """Run what is missing of a chapter's study and write ``results.json``.

    Can be interrupted at any time: finished runs are kept and not run again.

    Args:
        chapter: number, slug or folder.
        workers: processes, one thread each.

    Returns:
        The path of the results.
    """
    from tqdm import tqdm

    folder = root() / "lessons" / find_chapter(chapter).folder
    path, module = folder / "results.json", _load_module(folder)
    done = _finished(path, folder)
    todo = [
        (arm, seed)
        for seed in module.SEEDS
        for arm in module.arms()
        if not any(r["arm"] == arm and r["seed"] == seed for r in done)
    ]
    with tqdm(total=len(todo), desc=folder.name, file=sys.stdout) as bar:
        for result in _run_all(folder, todo, workers):
            done.append(result)
            _write(path, folder, module, done)
            bar.update()
    _write(path, folder, module, done)
    return path


def _finished(path: Path, folder: Path) -> list[dict[str, Any]]:
    """Runs of the same study; those of an older version are set aside by name."""
    if not path.exists():
        return []
    stored = _read(path)
    return list(stored["runs"]) if stored.get("study") == fingerprint(folder) else []


def _run_all(
    folder: Path, todo: list[tuple[Arm, int]], workers: int
) -> Iterator[dict[str, Any]]:
    if workers == 1:
        for arm, seed in todo:
            yield _run_one(folder, arm, seed)
        return
    with ProcessPoolExecutor(workers) as pool:
        jobs = [pool.submit(_run_one, folder, arm, seed) for arm, seed in todo]
        for job in as_completed(jobs):
            yield job.result()


def _run_one(folder: Path, arm: Arm, seed: int) -> dict[str, Any]:
    with _one_thread():
        seed_everything(seed)
        start = time.perf_counter()
        metrics = _load_module(folder).run(dict(arm), seed)
    seconds = round(time.perf_counter() - start, 2)
    rounded = {name: float(f"{value:.6g}") for name, value in metrics.items()}
    return {"arm": arm, "seed": seed, "metrics": rounded, "seconds": seconds}


@contextmanager
def _one_thread() -> Iterator[None]:
    before = os.environ.get("TLCOURSE_THREADS")
    os.environ["TLCOURSE_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["TLCOURSE_THREADS"]
        else:
            os.environ["TLCOURSE_THREADS"] = before


def _load_module(folder: Path) -> ModuleType:
    name, path = f"study_{folder.name}", folder / "study.py"
    loaded = sys.modules.get(name)
    if loaded is not None and loaded.__file__ == str(path):  # of this very course
        return loaded
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise StudyError(f"{folder} has no study.py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _write(
    path: Path, folder: Path, module: ModuleType, runs: list[dict[str, Any]]
) -> None:
    """Write all results so that a crash leaves the old file or the new one."""
    import torch

    order = [json.dumps(arm, sort_keys=True) for arm in module.arms()]
    key = [json.dumps(r["arm"], sort_keys=True) for r in runs]
    ranked = sorted(
        zip(key, runs, strict=True), key=lambda kr: (order.index(kr[0]), kr[1]["seed"])
    )
    record = {
        "study": fingerprint(folder),
        "metrics": module.METRICS,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__.split("+")[0],
            "numpy": np.__version__,
        },
        "runs": [run for _, run in ranked],
    }
    head = {k: v for k, v in record.items() if k != "runs"}
    lines = ",\n  ".join(json.dumps(run) for run in record["runs"])
    text = json.dumps(head, indent=1)[:-2] + f',\n "runs": [\n  {lines}\n ]\n}}\n'
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
