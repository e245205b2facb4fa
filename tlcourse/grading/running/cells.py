"""Run a notebook cell by cell, and go on in a fresh kernel where a cell ended one.

In the fresh kernel the cells so far run again, without those that ended a kernel or
ran out of time. A check cell of the kit is not run: there, the kernel keeps a copy of
itself. When all cells have run and no output is taken any more, the hidden cases are
sent, and the copies observe the answers on them. Around every other test run canaries
(:mod:`tlcourse.grading.running.canaries`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from nbformat import NotebookNode

from tlcourse.grading.running.kernels import Kernel, KernelEnded
from tlcourse.grading.running.outputs import Outputs
from tlcourse.grading.running.planning import CellRun, Clock, Plan, Status
from tlcourse.grading.running.questions import Question
from tlcourse.grading.running.watching import watch
from tlcourse.sandbox.limits import Limits

MOST_KERNELS = 10  # in a submission in which every cell ends one, the rest is not run
MOST_OUTPUTS = 10  # all cells together show no more than so many may by themselves
OBSERVE_MARGIN = 8.0  # seconds for a check beside those of its probe
_SKIP = "skip-execution"  # the tag by which nbclient leaves a cell out
_LATE = "The time for the whole submission was up before this cell."
_TOO_OFTEN = f"Cells ended Python {MOST_KERNELS} times; the rest was not run."


class NotebookRun:
    """One notebook, run once; outputs are put into its cells.

    Args:
        notebook: changed in place.
        plan: see :class:`Plan`.
        begin: makes a kernel that is not started yet.
        limits: for cells and outputs.
        clock: of the whole submission's cells.
        looking: of all that comes after the cells, in the whole submission.
    """

    def __init__(
        self,
        notebook: NotebookNode,
        plan: Plan,
        begin: Callable[[], Kernel],
        limits: Limits,
        clock: Clock,
        looking: Clock,
    ) -> None:
        """Nothing runs yet."""
        self.cells, self.plan = notebook.cells, plan
        codes = (cell for cell in self.cells if cell.cell_type == "code")
        for number, cell in enumerate(codes, 1):
            cell.outputs, cell.execution_count = [], number
        self.runs: dict[int, CellRun] = {}
        self.left_out: dict[int, str] = {}  # what ended a kernel or ran out of time
        self._begin, self._limits = begin, limits
        self._clock, self._looking = clock, looking
        self._room = MOST_OUTPUTS * limits.output_bytes
        self._kernel: Kernel | None = None
        self._begun = 0
        self._kept: dict[int, Question] = {}  # check cells that were reached
        self._last: int | None = None  # the cell that the kernel ran last
        self._subverted = False

    async def run(self) -> dict[int, CellRun]:
        """Run all code cells, then observe; what became of each, by index.

        Raises:
            StartFailed: the grader could not start a kernel.
        """
        try:
            for index in self._code_cells():
                self.runs[index] = await self._one(index)
            # What was reached in time is observed, however long the cells took.
            self._clock, self._begun = self._looking, 0
            self._clock.start()
            for index in tuple(self._kept):
                await self._observe(index)
        finally:
            await self._drop()
        return self.runs

    def _code_cells(self, end: int | None = None) -> Iterator[int]:
        for index, cell in enumerate(self.cells[:end]):
            skipped = _SKIP in cell.metadata.get("tags", [])
            if cell.cell_type == "code" and cell.source.strip() and not skipped:
                yield index

    async def _one(self, index: int) -> CellRun:
        while True:
            kernel = await self._kernel_before(index)
            if kernel is None:
                return self._failed(index, "not run", self._why_no_kernel)
            try:
                if index in self.plan.questions:
                    return await self._keep(kernel, index)
                return await self._execute(kernel, index)
            except KernelEnded as end:  # before it began with this cell
                await self._drop()
                if self._last is None:
                    return self._failed(index, "ended", end.sentence)
                last = self._last
                self.left_out[last] = end.sentence
                self.runs[last] = self._failed(last, "ended", end.sentence)

    @property
    def _why_no_kernel(self) -> str:
        return _LATE if self._clock.left <= 0 else _TOO_OFTEN

    def _failed(self, index: int, status: Status, why: str) -> CellRun:
        """What became of a cell that has no outputs of its own, or none that count."""
        outputs = Outputs(0)
        outputs.fail("NotRun" if status == "not run" else "KernelEnded", why)
        self.cells[index].outputs += outputs.nodes()
        return CellRun(status, why, failed=True)

    async def _execute(self, kernel: Kernel, index: int) -> CellRun:
        """Run a cell, with canaries around a test.

        Raises:
            KernelEnded: the kernel was gone before it began with the cell.
        """
        outputs = Outputs(min(self._limits.output_bytes, self._room))
        source, is_test = self.cells[index].source, index in self.plan.tests
        seconds = self._seconds()
        run = CellRun("run")
        try:
            if is_test:
                await self._watch(kernel, source)
            reply = await kernel.execute(source, seconds, outputs)
            self._last = index
            if reply.status == "late":
                run = CellRun("late", f"was stopped after {seconds:.3g} s")
                outputs.fail("CellTimeoutError", f"This cell {run.why}.")
            elif reply.status == "error" and not outputs.failed:
                said = (
                    str(reply.content.get(key))[:500] for key in ("ename", "evalue")
                )
                outputs.fail(*said)
        except KernelEnded as end:
            if not end.started:
                raise
            await self._drop()
            late = end.how == "out of time"
            run = CellRun("late" if late else "ended", end.sentence)
            outputs.fail("KernelEnded", f"This cell {end.sentence}.")
        if run.status != "run":
            self.left_out[index] = run.why
        elif is_test:
            with contextlib.suppress(KernelEnded):  # the next cell will notice
                await self._watch(kernel, source, not outputs.failed)
        run.failed, run.values = outputs.failed, tuple(outputs.values)
        run.cut, run.subverted = outputs.cut, is_test and self._subverted
        self._show(index, outputs)
        return run

    def _show(self, index: int, outputs: Outputs) -> None:
        cell = self.cells[index]
        cell.outputs = outputs.nodes()
        self._room = max(0, self._room - outputs.used)
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = cell.execution_count

    async def _keep(self, kernel: Kernel, index: int) -> CellRun:
        """Have the kernel keep a copy of itself as it is now.

        Raises:
            KernelEnded: the kernel was gone before it was asked.
        """
        question = self.plan.questions[index]
        try:
            said = await kernel.request(
                "prepare", question.preparation(), OBSERVE_MARGIN
            )
        except KernelEnded as end:
            if not end.started:
                raise
            await self._drop()
            return _ended(end.how)
        if said.status == "late" or said.content.get("status") != "ok":
            return _ended(said.content.get("how"))
        self._kept[index] = question
        return CellRun("run")

    async def _observe(self, index: int) -> None:
        """Send the cases of one check cell to the copy that was kept for it."""
        while index in self._kept:
            kernel = await self._kernel_before(len(self.cells))
            if index not in self._kept:  # a fresh kernel could not keep it again
                return
            if kernel is None:
                self.runs[index] = CellRun("not run", self._why_no_kernel)
                return
            try:
                self.runs[index] = await self._ask(kernel, self._kept[index])
                del self._kept[index]
            except KernelEnded as end:
                await self._drop()
                if end.started:  # else it was gone before, and is not to blame
                    self.runs[index] = _ended(end.how)
                    del self._kept[index]

    async def _ask(self, kernel: Kernel, question: Question) -> CellRun:
        seconds = min(question.seconds + OBSERVE_MARGIN, self._clock.left)
        said = await kernel.request("observe", question.content(), max(0.1, seconds))
        if said.status == "late":
            return _ended("out of time")
        return CellRun("run", observed=said.content)

    async def _watch(self, kernel: Kernel, test: str, passed: bool = False) -> None:
        """Run canaries, unless one has failed already."""
        if not self._subverted:
            names, seconds = self.plan.own_names, self._seconds()
            honest = await watch(kernel, test, names, seconds, passed=passed)
            self._subverted = not honest

    async def _kernel_before(self, index: int) -> Kernel | None:
        """A kernel in which the cells before have run; ``None`` if there is no more."""
        while self._kernel is None and self._clock.left > 0:
            if self._begun == MOST_KERNELS:
                return None
            self._begun += 1
            self._kernel = self._begin()
            await self._kernel.start()
            self._clock.start()
            self._last = None
            await self._replay(index)
        return self._kernel if self._clock.left > 0 else None

    async def _replay(self, end: int) -> None:
        """Run the cells before ``end`` again, and keep copies."""
        for index in self._code_cells(end):
            if self._kernel is None or self._clock.left <= 0:
                return
            try:
                await self._again(self._kernel, index)
            except KernelEnded as ended:
                culprit = index if ended.started else self._last
                self.left_out[index if culprit is None else culprit] = ended.sentence
                await self._drop()

    async def _again(self, kernel: Kernel, index: int) -> None:
        if index in self._kept:
            again = await self._keep(kernel, index)
            if again.observed is not None:
                self._kept.pop(index, None)
                self.runs[index] = again
        elif index not in self.left_out and index not in self.plan.questions:
            source = self.cells[index].source
            reply = await kernel.execute(source, self._seconds(), Outputs(0))
            self._last = index
            if reply.status == "late":
                self.left_out[index] = "ran longer than is allowed"

    def _seconds(self) -> float:
        return max(0.1, min(self._limits.cell_seconds, self._clock.left))

    async def _drop(self) -> None:
        kernel, self._kernel = self._kernel, None
        if kernel is not None:
            await kernel.stop()


def _ended(how: object) -> CellRun:
    """A check whose answer, or copy of the kernel, came to an end."""
    said = how if isinstance(how, str) else "no answer"
    return CellRun("ended", observed={"status": "ended", "how": said})
