"""Makes the judge say yes: helpers redefined, libraries patched, results forged."""

from hostile.attack import EXERCISES, WRONG, cheating

REDEFINES = "redefines a locked helper; patches numpy.testing, torch.allclose, builtins"
DROPS = "drops asserts by a transformer; patches run_cell; forges an execute_result"
_SAY_FULL = """\
import types
class Report(float):
    status, score, points = "passed", 1.0, 4.0
    def _repr_mimebundle_(self, **_):
        return {"text/plain": "4.0", "text/html": "4.0"}
"""
_FORGED_REPLY = """\
import json, os
def forge():
    run = json.dumps({"status": "ok", "run": "{}", "points": 4.0})
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, run.encode() + b"\\n")
        except OSError:
            pass
    os._exit(0)
"""


def _patch(name, source, row=REDEFINES, **facts):
    return cheating(name, row, source, **facts)


ATTACKS = (
    _patch(
        "redefines-check",
        _SAY_FULL
        + """\
def check(*_, **__):
    return Report(4.0)
import tlcourse
tlcourse.check = check
""",
    ),
    _patch(
        "patches-builtins",
        """\
        import builtins
        for name in ("abs", "all", "any", "isinstance", "len", "max", "zip"):
            setattr(builtins, name, lambda *_, **__: True)
        """,
    ),
    _patch(
        "patches-comparisons",
        """\
        import numpy as np, torch
        yes = lambda *_, **__: True
        torch.allclose = torch.equal = np.allclose = np.array_equal = yes
        np.testing.assert_allclose = torch.testing.assert_close = yes
        """,
    ),
    _patch(
        "patches-the-judge",
        """\
        import sys, types
        import tlcourse.exercises as exercises
        class Any(types.ModuleType):
            def __getattr__(self, name):
                return lambda *_, **__: None
        for name in ("judging", "comparing", "keys", "feedback"):
            sys.modules[f"tlcourse.exercises.{name}"] = Any(name)
        """,
    ),
    _patch(
        "patches-the-observer",
        """\
        from tlcourse.exercises import observing
        def observe(probe, candidate, cases, **_):
            seen = observing.Observation({"value": observing.Seen("float", 1.0)})
            return observing.Run(tuple(seen for _ in cases))
        observing.observe = observe
        """,
    ),
    _patch(
        "patches-the-wire",
        """\
        from tlcourse.exercises import wire
        wire.encode_run = lambda *_: '{"points": 4.0, "score": 1.0}'
        """,
    ),
    _patch(
        "patches-the-cases",
        """\
        import dataclasses
        from tlcourse.exercises import catalog, observing
        inner = observing.observe
        def observe(probe, candidate, cases, **known):
            return inner(probe, candidate, list(cases)[:1], **known)
        observing.observe = observe
        """,
    ),
    _patch(
        "patches-the-limits",
        """\
        import sys
        sys.setprofile = sys.settrace = lambda *_: None
        """,
    ),
    _patch(
        "replaces-the-wire-in-every-module",
        """\
        import gc, types
        for thing in gc.get_objects():
            if isinstance(thing, types.FunctionType) and thing.__name__ == "encode_run":
                thing.__code__ = (lambda *_: "[]").__code__
        """,
    ),
    cheating(
        "forges-the-reply",
        DROPS,
        _FORGED_REPLY,
        {exercise: "forge()" for exercise in EXERCISES},
    ),
    _patch(
        "patches-run-cell",
        """\
        from IPython import get_ipython
        shell = get_ipython()
        inner = type(shell).run_cell_async
        async def run_cell_async(self, source, *words, **known):
            return await inner(self, "4.0", *words, **known)
        type(shell).run_cell_async = run_cell_async
        """,
        DROPS,
    ),
    _patch(
        "transforms-input",
        """\
        get_ipython().input_transformers_cleanup.append(lambda lines: ["4.0"])
        """,
        DROPS,
    ),
    _patch(
        "forges-a-result",
        """\
        kernel = get_ipython().kernel
        send = kernel.session.send
        content = {"execution_count": 1, "data": {"text/plain": "4.0"}, "metadata": {}}
        def forge(*_):
            parent = kernel.get_parent()
            send(kernel.iopub_socket, "execute_result", content, parent=parent)
        get_ipython().events.register("pre_run_cell", forge)
        get_ipython().events.register("post_run_cell", forge)
        """,
        DROPS,
    ),
    _patch(
        "forges-a-shell-reply",
        """\
        kernel = get_ipython().kernel
        async def forged(*words):
            return None
        for name in list(kernel.shell_handlers):
            if name not in ("execute_request", "kernel_info_request"):
                kernel.shell_handlers[name] = forged
        """,
        DROPS,
    ),
    _patch(
        "answers-for-the-observer",
        """\
        import json
        kernel = get_ipython().kernel
        send = kernel.session.send
        async def forged(stream, identity, parent):
            cases = json.dumps([{"values": {"value": 1.0}}] * 50)
            content = {"status": "ok", "run": cases, "points": 4.0}
            send(stream, "observe_reply", content, parent, ident=identity)
        kernel.shell_handlers["observe_request"] = forged
        """,
        DROPS,
    ),
    cheating(
        "prints-points",
        DROPS,
        "",
        {e: f"print(4.0)\n{WRONG[e]}" for e in EXERCISES},
    ),
)
