"""What is written twice agrees, and the documents keep their promises."""

import re
import tomllib
from pathlib import Path

from tlcourse.course import all_chapters

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands():
    return re.findall(r"```bash\n(.*?)\n```", README, flags=re.S)


def test_ci_runs_the_readmes_test_command():
    assert commands()[1] in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_environment_repeats_nothing_of_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "environment.yml").read_text(encoding="utf-8").split("\n")
    items = [ln.strip(" -:") for ln in lines if ln.strip().startswith("- ")]
    assert items == [f"python {project['requires-python']}", "pip", "pip", "e ."]


def test_every_dependency_says_why():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = re.findall(r'^  "[a-zA-Z].*$', text.split("[tool.uv]")[0], flags=re.M)
    assert len(listed) > 15
    assert all(re.search(r'",\s+# \w', line) for line in listed)


def test_the_fixed_packages_are_dependencies():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[\[><=]", d)[0] for d in project["dependencies"]}
    fixed = "jupyterlab torch torchvision transformers matplotlib nbgrader nbval pytest"
    assert set(fixed.split()) <= names


def test_readme_links_exist_and_name_every_chapter():
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / link).exists(), link
    for chapter in all_chapters():
        row = f"| {chapter.number:02d} {chapter.title} |"
        assert row in README
        assert f"| {chapter.minutes} |" in README.split(row)[1].split("\n")[0]


def test_chapters_need_only_earlier_ones():
    seen = set()
    numbers = [chapter.number for chapter in all_chapters()]
    assert numbers == sorted(set(numbers))  # a chapter not written yet leaves a gap
    for chapter in all_chapters():
        assert set(chapter.needs) <= seen
        assert 1 <= len(chapter.goals) <= 4
        seen.add(chapter.slug)
