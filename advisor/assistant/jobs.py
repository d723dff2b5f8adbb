"""Commands that may outlast a call.

Many clients give up on a call after a minute, whatever progress is reported. So a long command belongs to the server:
a call waits for it for less than that, and the next call with the same arguments goes on waiting for the same command.
Cancelling a call stops its command; so does the end of the server.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import anyio.abc

from advisor.assistant.commands import Beat, Outcome, beating, run_command
from advisor.errors import AdvisorError
from advisor.export.text import inert

PATIENCE_S = 40.0  # of one call: with the start of a process, and a question to the user, below a client's 60 s
_MOST_KEPT = 8


@dataclass(slots=True, eq=False)
class _Job:
    """A command that runs or has run; with neither outcome nor error it was stopped."""

    args: tuple[str, ...]
    started_s: float
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    done: anyio.Event = field(default_factory=anyio.Event)
    outcome: Outcome | None = None
    error: AdvisorError | None = None


class Jobs:
    """The long commands of one server: one at a time, since each wants the whole machine."""

    def __init__(self, group: anyio.abc.TaskGroup) -> None:
        self._group = group
        self._jobs: dict[tuple[str, ...], _Job] = {}

    def knows(self, args: Sequence[str]) -> bool:
        """Whether this command runs, or has an outcome that nobody has seen."""
        return tuple(args) in self._jobs

    async def outcome(self, args: Sequence[str], *, time_limit_s: float, beat: Beat) -> Outcome | float:
        """Start a command, or go on waiting for it.

        Args:
            args: as made by `arguments`.
            time_limit_s: it is stopped after this long.
            beat: called about once a second with the seconds since it was started.

        Returns:
            Its outcome; or, if it still runs when a call should end, the seconds since it was started.

        Raises:
            AdvisorError: if another command runs, or if it takes too long or prints what is no document.
        """
        job = self._jobs.get(tuple(args)) or self._start(tuple(args), time_limit_s)
        try:
            with anyio.move_on_after(PATIENCE_S):
                await beating(job.done.wait, beat, since_s=job.started_s)
        except anyio.get_cancelled_exc_class():
            job.scope.cancel()
            raise
        return self._found(job)

    def _found(self, job: _Job) -> Outcome | float:
        if not job.done.is_set():
            passed_s: float = anyio.current_time() - job.started_s
            return passed_s
        self._jobs.pop(job.args, None)
        if job.error is not None:
            raise job.error
        if job.outcome is None:
            raise AdvisorError(f"advisor {job.args[0]} was stopped by another call; start it again")
        return job.outcome

    def _start(self, args: tuple[str, ...], time_limit_s: float) -> _Job:
        running = next((job for job in self._jobs.values() if not job.done.is_set()), None)
        if running is not None:
            passed_s = anyio.current_time() - running.started_s
            raise AdvisorError(
                f"advisor {running.args[0]} {inert(running.args[-1])} has been running for {passed_s:.0f} s and wants"
                " the whole machine; wait for it with the arguments it was started with, or cancel that call"
            )
        for old in list(self._jobs)[: max(0, len(self._jobs) + 1 - _MOST_KEPT)]:
            del self._jobs[old]
        job = self._jobs[args] = _Job(args, anyio.current_time())
        self._group.start_soon(self._run, job, time_limit_s)
        return job

    async def _run(self, job: _Job, time_limit_s: float) -> None:
        try:
            with job.scope:
                job.outcome = await run_command(job.args, time_limit_s=time_limit_s)
        except AdvisorError as error:
            job.error = error
        finally:
            if job.scope.cancelled_caught:
                self._jobs.pop(job.args, None)
            job.done.set()


@asynccontextmanager
async def working(_: object) -> AsyncIterator[Jobs]:
    """The jobs of a server for as long as it runs; what still runs at its end is stopped."""
    async with anyio.create_task_group() as group:
        try:
            yield Jobs(group)
        finally:
            group.cancel_scope.cancel()
