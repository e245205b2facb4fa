"""The view of the package: it works, and it answers nothing."""

import ast
import hashlib
import importlib
import json
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import nbformat
import pytest
from solution_answers import answer_sources

from tlcourse.course import find_chapter
from tlcourse.exercises import all_exercises
from tlcourse.exercises.catalog import all_probes, chapters
from tlcourse.sandbox.emptying import empty, locate
from tlcourse.sandbox.view import _contents, emptied_names, make_view

ROOT = Path(__file__).resolve().parents[2]
PROBES = {
    slug: [probe for probe in all_probes() if probe.id.startswith(f"{slug}.")]
    for slug in chapters()
}
OURS = sorted({n for p in all_probes() for n in p.forbid if n.startswith("tlcourse.")})
PACKAGE = {
    "tlcourse/__init__.py": "",
    "tlcourse/sums.py": '''
def add(a, b):
    """The sum."""
    return _plus(a, b)

def _plus(a, b):
    return _really(a, b)

def _really(a, b):
    return a + b + _shared(a)

def _shared(a):
    return 0

def other(a):
    return _shared(a)

class Adder:
    """Adds."""
    start = 0

    def __call__(self, a):
        return a + self.start
''',
    "tlcourse/parts/__init__.py": "from tlcourse.sums import add as plus\n",
}


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    folder = tmp_path_factory.mktemp("views")
    return {slug: make_view(folder / slug, probes) for slug, probes in PROBES.items()}


def texts(view):
    return {
        path.relative_to(view).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(view.rglob("*.py"))
    }


def run_inside(view, code, *arguments):
    """Run code in a fresh Python that sees the view first; its last line as JSON."""
    code = f"import sys; sys.path.insert(0, {str(view)!r})\n{textwrap.dedent(code)}"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, *arguments],
        capture_output=True,
        text=True,
        cwd=view,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def in_all_chapters(test):
    few = {"start_here", "domain_adaptation"}
    slow = [pytest.param(slug, marks=pytest.mark.slow) for slug in {*PROBES} - few]
    return pytest.mark.parametrize("slug", [*sorted(few), *slow])(test)


@pytest.mark.parametrize("slug", chapters())
def test_no_key_and_no_grader_is_in_it(views, slug):
    folders = {part for path in views[slug].rglob("*") for part in path.parts}
    assert not folders & {"keys", "grading", "interview", "authoring", "cli", "doctor"}
    assert not list(views[slug].rglob("*.pyc"))


@pytest.mark.parametrize("slug", chapters())
def test_no_message_of_a_mutant_and_no_property_is_in_it(views, slug):
    everything = "\n".join(texts(views[slug]).values())
    for exercise in all_exercises():
        if exercise.id.startswith(f"{slug}."):
            said = [m.message for m in exercise.key.mutants]
            said += [p.message for p in exercise.key.properties]
            assert not [text for text in said if text in everything]


@pytest.mark.parametrize("slug", chapters())
def test_no_body_of_an_emptied_function_is_in_it(views, slug):
    given = {body for text in texts(views[slug]).values() for body in _bodies(text)}
    for name in emptied_names(PROBES[slug]):
        assert not given & _bodies_of(name), f"{name} is given away"


def _bodies_of(name):
    path, inside = locate(_contents()[0], name)
    node = ast.parse(_contents()[0][path])
    for part in inside:
        node = next(n for n in node.body if getattr(n, "name", None) == part)
    return {*_bodies(ast.unparse(node))}


@pytest.mark.parametrize("slug", chapters())
def test_no_function_of_a_key_is_in_it(views, slug):
    given = {body for text in texts(views[slug]).values() for body in _bodies(text)}
    ours = {n for p in PROBES[slug] for n in p.forbid if n.startswith("tlcourse.")}
    for name in ours - {*emptied_names(PROBES[slug])}:  # what answers may call
        given -= _bodies_of(name)
    keys = _of_keys(slug)
    assert keys and not keys & given


def _of_keys(slug):
    import tlcourse.exercises.keys as keys

    folder = Path(keys.__path__[0])
    files = [*folder.glob(f"{slug}.py"), *(folder / slug).rglob("*.py")]
    return {body for path in files for body in _bodies(path.read_text())}


def _bodies(text):
    """What functions do, in more than a few words, whatever they are called."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[ast.get_docstring(node) is not None :]
            dumped = ast.dump(ast.Module(body, []))
            if len(dumped) > 200:
                yield dumped


@in_all_chapters
def test_everything_imports_and_every_probe_makes_its_cases(views, slug):
    made = run_inside(
        views[slug],
        """
        import importlib, json, pkgutil, tlcourse
        assert tlcourse.__file__.startswith(sys.path[0])
        for module in pkgutil.walk_packages(tlcourse.__path__, "tlcourse."):
            importlib.import_module(module.name)
        from tlcourse import check, hint, progress
        from tlcourse.exercises.catalog import all_probes, has_keys
        assert not has_keys()
        print(json.dumps({p.id: len(p.make(1)) for p in all_probes()}))
        """,
    )
    assert made == {probe.id: len(probe.make(1)) for probe in all_probes()}


@in_all_chapters
def test_right_answers_are_not_refused_there(views, slug, tmp_path):
    """Also those that use what another exercise of the chapter asks for."""
    (tmp_path / "answers.json").write_text(json.dumps(answer_sources(slug)))
    refused = run_inside(
        views[slug],
        """
        import ast, json, pathlib
        from tlcourse.exercises.catalog import get_probe
        from tlcourse.exercises.observing import observe
        exec(sys.argv[2])
        refused = {}
        for name, source in json.loads(pathlib.Path(sys.argv[1]).read_text()).items():
            exec(source)
            answer = [n.name for n in ast.parse(source).body if hasattr(n, "name")][-1]
            probe = get_probe(name)
            run = observe(probe, globals()[answer], probe.make(0), guarded=True)
            if run.forbidden or all(o.raised for o in run.observations):
                refused[name] = repr(run)
        print(json.dumps(refused))
        """,
        str(tmp_path / "answers.json"),
        _imports(slug),
    )
    assert refused == {}


def _imports(slug):
    """What a learner's notebook holds beside answers and checks."""
    path = ROOT / "chapters" / find_chapter(slug).folder / "exercises.ipynb"
    cells = nbformat.read(path, as_version=4).cells
    own = [c for c in cells if c.cell_type == "code" and "nbgrader" not in c.metadata]
    return "\n".join(cell.source for cell in own)


@in_all_chapters
def test_calling_what_is_emptied_is_refused_by_its_name(views, slug):
    names = {
        probe.id: [n for n in probe.forbid if n in emptied_names(PROBES[slug])]
        for probe in PROBES[slug]
    }
    refused = run_inside(
        views[slug],
        """
        import json
        from tlcourse.exercises.catalog import get_probe
        from tlcourse.exercises.forbidding import _find
        from tlcourse.exercises.observing import observe
        wrong = {}
        for exercise, names in json.loads(sys.argv[1]).items():
            probe = get_probe(exercise)
            for name in names:
                thing = _find(name)[1]
                cheat = lambda *given, **named: thing(*given, **named)
                for guarded in (True, False):
                    run = observe(probe, cheat, probe.make(0), guarded=guarded)
                    if run.forbidden != name:
                        wrong[f"{exercise} {name}"] = repr(run)[:300]
        print(json.dumps(wrong))
        """,
        json.dumps(names),
    )
    # Arguments that do not fit are an error of the cheat's own, and give no value.
    assert [w for w in refused.values() if "values={'" in w] == []


def test_check_hint_and_progress_do_no_harm_there(views, tmp_path):
    shown = run_inside(
        views["start_here"],
        """
        import json, os
        os.environ["TLCOURSE_HOME"] = sys.argv[1]
        from tlcourse import check, hint, progress
        report = check("start_here.accuracy", lambda *_: 0)
        print(repr(report), str(hint("start_here.accuracy")), progress())
        print(json.dumps(report.to_json()))
        """,
        str(tmp_path),
    )
    assert (shown["status"], shown["points"]) == ("not run", 0)
    assert "grader" in shown["message"]


def test_the_same_view_twice(views, tmp_path):
    again = make_view(tmp_path / "again", PROBES["losses"])
    assert _hash(again) == _hash(views["losses"])


def _hash(view):
    return {
        path.relative_to(view).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in view.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_weights_are_kept(views):
    kept = "tlcourse/models/weights/glyphnet.safetensors"
    assert (views["maml"] / kept).is_file()


def test_a_folder_with_a_package_is_left_alone(views):
    with pytest.raises(FileExistsError):
        make_view(views["losses"], [])


def test_a_view_is_made_fast(views, tmp_path):
    start = time.process_time()
    make_view(tmp_path / "fast", PROBES["maml"])
    assert time.process_time() - start < 0.3


@pytest.mark.parametrize("name", OURS)
def test_a_name_is_found_where_python_finds_it(name):
    home, *_ = name.rpartition(".")
    try:
        thing = getattr(importlib.import_module(home), name.split(".")[-1])
    except ModuleNotFoundError:  # a method
        module, owner = home.rpartition(".")[::2]
        thing = getattr(importlib.import_module(module), owner)
        thing = getattr(thing, name.split(".")[-1])
    path, inside = locate(_contents()[0], name)
    assert thing.__qualname__ == ".".join(inside)
    assert path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") == (
        thing.__module__
    )


def test_a_helper_that_only_emptied_functions_used_is_emptied():
    (text,) = empty(PACKAGE, ["tlcourse.parts.plus", "tlcourse.sums.Adder"]).values()
    space = {}
    exec(text, space)  # noqa: S102
    assert space["other"](1) == 0
    assert space["add"].__doc__ == "The sum."
    for call in ("add(1, 2)", "_plus(1, 2)", "_really(1, 2)", "Adder()"):
        with pytest.raises(BaseException, match=r"tlcourse\.(parts\.plus|sums\.Adder)"):
            eval(call, space)  # noqa: S307
    assert "a + b" not in text and "self.start" not in text


def test_a_name_that_does_not_exist_is_an_error():
    with pytest.raises(ValueError, match="tlcourse.sums.minus"):
        empty(PACKAGE, ["tlcourse.sums.minus"])
