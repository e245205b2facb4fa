"""What a newcomer sees: JupyterLab in a real browser, lessons run, answers judged.

Needs Debian's chromium (or another one on the path); skipped without. Pictures of
what was seen go to the folder that ``TLCOURSE_SCREENSHOTS`` names.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
LESSON_SECONDS = 120
RIGHT = """def accuracy(logits, targets):
return (logits.argmax(dim=1) == targets).float().mean().item()"""
WRONG = RIGHT.replace("return ", "return 100 * ")

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab on a copy of the course's notebooks; gives its address."""
    folder = tmp_path_factory.mktemp("course")
    shutil.copy(ROOT / "course.toml", folder)
    for room in ("chapters", "lessons"):
        shutil.copytree(ROOT / room, folder / room)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = folder / "config"
    config.mkdir()
    # Lets the test give JupyterLab's own commands, as its menus do.
    (config / "jupyter_lab_config.json").write_text(
        '{"LabApp": {"expose_app_in_browser": true}}', encoding="utf-8"
    )
    settings = {
        "JUPYTER_CONFIG_DIR": str(config),
        "TLCOURSE_HOME": str(folder / "home"),
        "PATH": str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"],
    }
    with open(folder / "log", "w", encoding="utf-8") as log:
        words = ["lab", "--no-browser", "--port", str(port)]
        server = subprocess.Popen(
            [sys.executable, "-m", "tlcourse", *words],
            cwd=folder,
            env={**os.environ, **settings, "JUPYTER_TOKEN": "t"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{address}/api?token=t", server, folder / "log")
        yield address
    finally:
        server.terminate()
        server.wait(20)


def _wait_for(url, server, log):
    for _ in range(240):
        assert server.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(url, timeout=2)
            return
        except OSError:
            time.sleep(0.25)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    quiet = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
    ]
    with sync_playwright() as tool:
        chromium = tool.chromium.launch(executable_path=CHROMIUM, args=quiet)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, lab):
    tab = browser.new_page(viewport={"width": 1280, "height": 1000})
    tab.set_default_timeout(60_000)
    yield tab
    tab.close()


def open_notebook(page, lab, path):
    page.goto(f"{lab}/lab/workspaces/w{time.time_ns()}/tree/{path}?token=t")
    page.wait_for_selector(".jp-NotebookPanel .jp-Cell")
    page.evaluate(
        """async () => {
          const session = window.jupyterapp.shell.currentWidget.sessionContext;
          await session.ready;
          await session.session.kernel.info;
        }"""
    )


def picture(page, name):
    folder = os.environ.get("TLCOURSE_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png")


def command(page, name, **given):
    """Give one of JupyterLab's commands and wait until it is done."""
    page.evaluate(
        "([name, given]) => window.jupyterapp.commands.execute(name, given)",
        [name, given],
    )


def run_all(page):
    """Run every cell of a freshly opened notebook; ends when the last one has run."""
    command(page, "notebook:clear-all-cell-outputs")
    command(page, "notebook:run-all-cells")
    page.wait_for_function(
        """() => {
          const panel = window.jupyterapp.shell.currentWidget;
          const cells = [...panel.content.model.cells];
          const idle = panel.sessionContext.session.kernel.status === 'idle';
          return idle && cells.every(c => c.type !== 'code' || c.executionCount);
        }""",
        timeout=LESSON_SECONDS * 1000,
    )


def saved(page, lab, path):
    """The notebook as JupyterLab saves it: windowing hides nothing there."""
    command(page, "docmanager:save")
    url = f"{lab}/api/contents/{path}?token=t"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)["content"]["cells"]


@pytest.mark.parametrize("chapter", ["00_start_here", "01_why_transfer"])
def test_lesson_runs_from_top_to_bottom(page, lab, chapter):
    path = f"chapters/{chapter}/lesson.ipynb"
    open_notebook(page, lab, path)
    picture(page, f"{chapter}-opened")
    run_all(page)
    cells = saved(page, lab, path)
    picture(page, f"{chapter}-run")
    codes = [c for c in cells if c["cell_type"] == "code"]
    errors = [o for c in codes for o in c["outputs"] if o["output_type"] == "error"]
    assert not errors, errors[0]
    assert all(c["execution_count"] for c in codes)


def answer(page, text):
    """Type an answer over the stub, run it and its check; the report as text."""
    cell = page.locator(".jp-CodeCell", has_text="def accuracy").first
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.type(text)
    page.keyboard.press("Shift+Enter")
    page.keyboard.press("Shift+Enter")
    check = page.locator(".jp-CodeCell", has_text='check("start_here.accuracy"').first
    page.wait_for_timeout(500)
    check.locator(".jp-OutputArea-output", has_text="points").wait_for()
    return check.locator(".jp-OutputArea-output").inner_text()


def test_answers_are_judged_and_mistakes_named(page, lab):
    from tlcourse.exercises import get

    mutants = {m.name: m.message for m in get("start_here.accuracy").key.mutants}
    open_notebook(page, lab, "chapters/00_start_here/exercises.ipynb")
    run_all(page)
    wrong = answer(page, WRONG)
    picture(page, "answer-wrong")
    assert "0 / 2 points" in wrong
    assert mutants["percent"].split(".")[0] in wrong
    right = answer(page, RIGHT)
    picture(page, "answer-right")
    assert "2 / 2 points" in right
    command(page, "apputils:change-theme", theme="JupyterLab Dark")
    page.wait_for_timeout(1000)
    picture(page, "answer-dark")
