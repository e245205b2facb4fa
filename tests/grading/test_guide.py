"""The teacher's guide and the page of threats say what is so."""

import ast
import datetime
import re
from pathlib import Path
from typing import get_args

import pytest
from hostile import ATTACKS, escaping
from nbgrader.utils import parse_utc
from typer.testing import CliRunner

from tlcourse.cli import app
from tlcourse.grading.records import Status

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "classroom" / "README.md").read_text(encoding="utf-8")
THREATS = (ROOT / "docs" / "THREATS.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```bash\n(.*?)```", GUIDE, flags=re.S)
COMMANDS = [
    line
    for block in BLOCKS
    for line in block.splitlines()
    if line.startswith("tlcourse ")
]
PAGES = {"guide": (GUIDE, ROOT / "classroom"), "threats": (THREATS, ROOT / "docs")}


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_of_the_guide_exist_with_their_options(line):
    _, command, *words = line.split()
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output
    for option in (word for word in words if word.startswith("-")):
        assert option in re.sub(r"\x1b\[[0-9;]*m", "", shown.output)


@pytest.mark.parametrize("assignment", ["hw1", "02_losses"])
@pytest.mark.parametrize("student", ["ada", "marie-anne", "lise_m"])
def test_the_pattern_for_zip_files_finds_the_student(student, assignment):
    lines = re.search(r"named_regexp = (\(.*?\n\))", GUIDE, flags=re.S)
    name = f"{student}_{assignment}_20260302T170500_exercises.ipynb"
    found = re.match(ast.literal_eval(lines[1]), f"/work_hw1/extracted/all/{name}")
    assert found["student_id"] == student
    assert found["file_id"] == "exercises.ipynb"
    # nbgrader reads `2026-03-02-17-05-00`, the example of its own guide, as 17:00.
    when = datetime.datetime(2026, 3, 2, 17, 5)
    assert parse_utc(found["timestamp"]).replace(tzinfo=None) == when


def test_every_status_is_explained():
    for status in get_args(Status):
        assert f"| {status} |" in GUIDE


def test_every_attack_stands_in_the_page_of_threats():
    attacks = (*ATTACKS, *escaping.attacks({"courses": [], "places": []}))
    table, noticed = THREATS.split("## Prevented")[1].split("## Only noticed")
    named = set(re.findall(r"`([a-z0-9-]+-[a-z0-9-]+|\w+)`", table))
    assert {attack.name for attack in attacks if not attack.noticed} <= named
    assert all(attack.name in noticed for attack in attacks if attack.noticed)


def test_every_test_that_the_page_names_exists():
    source = "".join(p.read_text() for p in (ROOT / "tests/grading").glob("test_*.py"))
    for name in re.findall(r"`(test_\w+)`", THREATS):
        assert f"def {name}(" in source


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text, folder = PAGES[page]
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, part = link.partition("#")
        if not path.startswith("http") and path:
            assert (folder / path).is_file(), link
        if part and not path.startswith("http"):
            target = (folder / path).read_text("utf-8") if path else text
            titles = re.findall(r"^#+ (.*)$", target, flags=re.M)
            assert part in {re.sub(r"\W+", "-", t.lower()).strip("-") for t in titles}
