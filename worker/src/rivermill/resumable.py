"""Steps of resumable jobs: what an attempt has done, so that the next one goes on behind it. Pure.

Progress is kept in the job's metadata under River's own keys, so an attempt in Go goes on where one in Python failed, and the
other way round. Mirrors River's ``resumable.go``; an error ends the worker at once here, where Go skips the steps that follow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rivermill.errors import JobFailure, ValidationError
from rivermill.jsonb import encode_value

if TYPE_CHECKING:
    from rivermill.job import AttemptState

_STEP, _CURSOR = "river:resumable_step", "river:resumable_cursor"
#: What the metadata of every job have in them that has made progress.
PROGRESS = '"river:resumable_'


class Step:
    """One step, as ``with job.step("name") as step:`` gives it.

    Mirrors ``ResumableStep``, ``ResumableStepCursor`` and ``ResumableSetCursor``.

    Attributes:
        needed: whether the step is to be run; False if an earlier attempt has done it.
        cursor: what ``set_cursor`` was last given when the step failed in an earlier attempt; None if there is nothing.
    """

    def __init__(self, steps: Steps, name: str, *, needed: bool, cursor: Any) -> None:
        self._steps = steps
        self._name = name
        self.needed = needed
        self.cursor = cursor
        self._entered = False

    def set_cursor(self, cursor: Any) -> None:
        """Remember how far the step has come, a JSON value, in case the attempt fails before its end.

        Raises:
            ValidationError: the step was not begun by ``with``, so that nothing would end it, it has ended, an earlier attempt
                has done it, or the cursor cannot be encoded or stored.
        """
        if not self._entered:
            raise ValidationError(
                f"step {self._name!r}: write `with job.step({self._name!r}) as step:`, and set its cursor in it"
            )
        self._steps.set_cursor(self._name, cursor)

    def __enter__(self) -> Self:
        self._entered = True
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._steps.leave(self._name, done=error is None)


def _unheard() -> None:
    """Nobody needs to know before the attempt ends."""


class Steps:
    """The steps of one attempt.

    Args:
        metadata: the job's as it was claimed.
        changed: called when ``progress`` may have changed.
    """

    def __init__(self, metadata: Mapping[str, Any], changed: Callable[[], None] = _unheard) -> None:
        self._changed = changed
        step, cursors = metadata.get(_STEP), metadata.get(_CURSOR)
        self._resume = step if isinstance(step, str) else ""
        self._cursors: dict[str, Any] = dict(cursors) if isinstance(cursors, Mapping) else {}
        # Cursors beside a step may be older than it; without one they are all there is.
        self._unreached = [] if self._resume else sorted(self._cursors)
        self._found = not self._resume
        self._names: set[str] = set()
        self._active = self._completed = ""
        self._cursors_changed = False

    def step(self, name: str) -> Step:
        """Begin a step.

        Raises:
            ValidationError: it is inside another, there was one of this name before, or the name cannot be stored.
        """
        if self._active:
            raise ValidationError(f"step {name!r}: steps cannot be nested; end step {self._active!r} first")
        if not name or name in self._names:
            raise ValidationError(f"step {name!r}: give each step of a worker a name of its own")
        encode_value("a step's name", name)
        self._names.add(name)
        needed, cursor = self._found, self._cursors.get(name)
        if not self._found and name == self._resume:
            self._found, self._completed = True, name
            needed = name in self._cursors
        if needed:
            self._active = name
            if name in self._unreached:
                self._unreached.remove(name)
                self._changed()
        return Step(self, name, needed=needed, cursor=cursor)

    def set_cursor(self, name: str, cursor: Any) -> None:
        """See ``Step.set_cursor``."""
        if self._active != name:
            raise ValidationError(f"step {name!r}: a cursor can be set only while its step runs")
        self._cursors[name] = _stored(cursor)
        self._cursors_changed = True
        self._changed()

    def checkpoint(self, cursor: Any) -> dict[str, Any]:
        """The metadata that say that the step which runs is done, or has come to its cursor; ``keep`` it once written.

        Raises:
            ValidationError: no step runs, or a step that has a cursor was not reached yet.
        """
        if not self._active:
            raise ValidationError("job_set_step: no step runs; call it inside one whose `needed` is true")
        if self._unreached:
            raise ValidationError(f"step {self._active!r}: step {self._unreached[0]!r}, which has a cursor, must come first")
        cursors = self._cursors if cursor is None else {**self._cursors, self._active: cursor}
        return {_STEP: self._active, _CURSOR: dict(cursors) or None}

    def keep(self, checkpoint: Mapping[str, Any]) -> None:
        """The checkpoint was written: what it says is the transaction's now, and not the attempt's to record."""
        self._cursors = dict(checkpoint[_CURSOR] or {})
        self._completed, self._cursors_changed = "", False
        self._changed()

    def leave(self, name: str, *, done: bool) -> None:
        """End a step, if it was run."""
        if self._active != name:
            return
        self._active = ""
        if done:
            self._completed = name
            self._cursors_changed |= self._cursors.pop(name, None) is not None
            self._changed()

    def progress(self) -> dict[str, Any]:
        """The metadata to record if the attempt does not succeed."""
        updates: dict[str, Any] = {}
        if not self._unreached:
            if self._cursors_changed:
                updates[_CURSOR] = self._cursors or None
            if self._completed:
                updates[_STEP] = self._completed
        return updates

    def end(self, error: BaseException | None) -> tuple[BaseException | None, dict[str, Any]]:
        """What the attempt ends with, and the metadata to record.

        Success is a failure when a step that an earlier attempt has reached was not there.
        """
        if error is None and not self._found:
            error = JobFailure(f"resumable step {self._resume!r} of an earlier attempt is not in the worker")
        if error is None and self._unreached:
            error = JobFailure(f"resumable step {self._unreached[0]!r}, which has a cursor, is not in the worker")
        return error, {} if error is None else self.progress()


def progress(step: str, cursor: Any = None) -> dict[str, Any]:
    """The metadata of a job that has done a step, or with a cursor has come so far in it.

    Raises:
        ValidationError: the cursor cannot be encoded or stored.
    """
    if cursor is None:
        return {_STEP: step}
    return {_STEP: step, _CURSOR: {step: _stored(cursor)}}


def _stored(cursor: Any) -> Any:
    """A cursor as it is now, and as the next attempt will find it; raises ValidationError."""
    return json.loads(encode_value("cursor", cursor))


def end_steps(state: AttemptState, metadata: Mapping[str, Any], error: BaseException | None) -> BaseException | None:
    """What an attempt with steps, or with progress of an earlier one, ends with; its progress goes to ``state``.

    Args:
        state: the attempt.
        metadata: the job's as it was claimed.
        error: what the worker raised.
    """
    error, updates = (state.steps or Steps(metadata)).end(error)
    for key, value in updates.items():
        state.update(key, value)
    return error
