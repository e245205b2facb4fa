"""Turns on the grader: its memory, its time, and what it says to the learner."""

from hostile.attack import EXERCISES, Attack, answered, cheating, packed

ROW = "makes the grader use much memory or time"
SAYS = "hides hidden cases in what the feedback says"


def _honest(name, source, *flags, **facts):
    """Right answers, and an attack in a last cell."""
    return Attack(
        name,
        ROW,
        lambda given: packed(answered(given, {}, last=source)),
        full=EXERCISES,
        flags=flags,
        **facts,
    )


# One message of many parts: the transport takes all of it before anybody sees it.
_PARTS = """\
import time, zmq
thread = get_ipython().kernel.iopub_thread
part = zmq.Frame(b"x" * 30 * 2**20)
thread.schedule(lambda: thread.socket.send_multipart([part] * 200, copy=False))
thread.flush()
time.sleep(2)
"""
# More than a connection takes, and then no answer to those who connect again.
_SILENT = """\
kernel = get_ipython().kernel
kernel.shell_handlers["kernel_info_request"] = lambda *_: None
content = {"name": "stdout", "text": "x" * 40_000_000}
for _ in range(2):
    kernel.session.send(
        kernel.iopub_socket, "stream", content, parent=kernel.get_parent()
    )
"""
_REPLY = """\
kernel = get_ipython().kernel
async def forged(stream, identity, parent):
    content = {CONTENT}
    kernel.session.send(stream, "observe_reply", content, parent, ident=identity)
kernel.shell_handlers["observe_request"] = forged
"""
_TELLS = '{"status": "ended", "how": "told " + str(parent["content"]["cases"])[60:99]}'
_BRACKETS = '{"status": "ok", "run": "[" * 490_000 + "x" * 30_000_000}'
_BLAMES = """\
from tlcourse.exercises.forbidding import ForbiddenCall
raise ForbiddenCall("tlcourse.losses.mmd")
"""


def _many_cells(given):
    notebook = answered(given, {})
    for number in range(60):
        cell = {"cell_type": "code", "metadata": {}, "outputs": []}
        cell |= {"id": f"more-{number}", "execution_count": None}
        notebook.cells.append({**cell, "source": "print('x' * 19_000)"})
    return packed(notebook)


ATTACKS = (
    _honest("floods-with-one-message", _PARTS, "kernel ended"),
    _honest("falls-silent", _SILENT),
    Attack(
        "prints-in-many-cells",
        ROW,
        _many_cells,
        full=EXERCISES,
        flags=("output cut",),
    ),
    _honest("is-made-of-spaces", "x = (1,\n" + " " * 40_000 + "2)"),
    cheating(
        "replies-with-brackets",
        ROW,
        _REPLY.replace("{CONTENT}", _BRACKETS),
        flags=("unreadable observation",),
    ),
    cheating(
        "asks-to-be-looked-at-again",
        ROW,
        "import time\ntime.sleep(0.5)",
        dict.fromkeys(EXERCISES, _BLAMES),
        flags=("grader",),
    ),
    cheating(
        "tells-cases-as-an-ending",
        SAYS,
        _REPLY.replace("{CONTENT}", _TELLS),
        hidden=("told",),
    ),
)
