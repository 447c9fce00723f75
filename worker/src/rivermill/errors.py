"""The exceptions that Rivermill raises, and the outcomes that a worker may raise.

Beside these there is ``BlockingCallError`` of ``SyncClient``.

::

    RivermillError
    ├── ConfigError            a setting is wrong (also a ValueError)
    ├── ValidationError        an insert option, queue name, kind or tag is wrong (also a ValueError)
    │   └── UnknownKindError   no worker is registered for the kind
    ├── NotFoundError          no such job or queue (also a LookupError)
    ├── JobRunningError        a running job cannot be deleted
    ├── JobNotRunningError     an attempt that is over cannot complete its job
    ├── UniqueConflictError    the move is refused by another job with the same unique key
    ├── MigrationError         the schema is not what is needed
    ├── DatabaseUnavailableError  there is no connection, or it was lost
    │   └── LoginRefusedError  the server refused user or password
    ├── ArgsDecodeError        the stored args do not fit the worker's type
    ├── NotStartedError        the client has no connection yet
    ├── JobFailure             raised by a worker: the attempt failed as can be expected, no trace is recorded
    ├── JobTimeoutError        recorded: an attempt took longer than its timeout
    ├── JobInterruptedError    raised by ``Job.check_cancelled``: somebody wants the attempt to end
    └── WorkerCrashError       recorded: the process of a job died
    JobOutcome                 raised by a worker, an outcome and not a failure
    ├── JobCancel              finish as ``cancelled``, whatever attempts are left
    └── JobSnooze              run again later, without using up an attempt
"""

from __future__ import annotations

from datetime import timedelta

#: Of River's durations the longest in whole seconds, some 292 years.
_LONGEST_SNOOZE = timedelta(seconds=9_223_372_036)


class RivermillError(Exception):
    """Base class of all errors."""


class ConfigError(RivermillError, ValueError):
    """A setting is missing or wrong; the message names the setting, its value and the way out."""


class ValidationError(RivermillError, ValueError):
    """A value given by the caller is not one River accepts."""


class UnknownKindError(ValidationError):
    """No worker is registered for the kind. Mirrors River's ``UnknownJobKindError``."""


class NotFoundError(RivermillError, LookupError):
    """There is no such job or queue. Mirrors ``rivertype.ErrNotFound``."""


class JobRunningError(RivermillError):
    """The job is running and so cannot be deleted. Mirrors ``rivertype.ErrJobRunning``."""


class JobNotRunningError(RivermillError):
    """The job is not being run by the attempt that wants to complete it: it has ended, or was given to another client.

    River's ``JobCompleteTx`` leaves such a row alone and says nothing.
    """


class UniqueConflictError(RivermillError):
    """Another live job holds the same unique key. River passes on the violation of the index."""


class MigrationError(RivermillError):
    """The schema cannot be migrated, or is not at the version needed. Mirrors the errors of River's ``rivermigrate``."""


class DatabaseUnavailableError(RivermillError):
    """No connection to the database could be made; the message never holds the password."""


class LoginRefusedError(DatabaseUnavailableError):
    """The server refused user or password (SQLSTATE 28000, 28P01)."""


class ArgsDecodeError(RivermillError):
    """The args of a row do not fit the type its worker declares.

    It fails the attempt, as what River's decoding of args returns does.
    """


class NotStartedError(RivermillError):
    """The operation needs a client that has been connected or started."""


class JobFailure(RivermillError):  # noqa: N818 - what happened to the job, not a mistake in it
    """Fail the attempt with this message; its ``errors`` element has an empty trace, as River's has for returned errors."""


class JobTimeoutError(RivermillError):
    """An attempt took longer than its timeout; what its worker raised then, if that is something else, is its cause.

    River's workers end with Go's ``context.DeadlineExceeded`` then.
    """


class JobInterruptedError(RivermillError):
    """The attempt was asked to end: it was cancelled, took too long, or its client stops.

    River's workers find their context cancelled then.
    """


class WorkerCrashError(RivermillError):
    """The process that executed the job died; ``exit_code`` is negative for a signal's number."""

    def __init__(self, message: str, exit_code: int | None) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class JobOutcome(Exception):  # noqa: N818 - an outcome, not an error
    """Base class of what a worker may raise to say how the attempt ends without having failed.

    Mirrors what ``JobCancel`` and ``JobSnooze`` of River's have in common.
    """


class JobCancel(JobOutcome):
    """Finish the job as ``cancelled``, whatever attempts are left. Mirrors ``JobCancel`` and its ``JobCancelError``.

    Args:
        reason: recorded in the job's ``errors`` as ``JobCancelError: <reason>``.
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


class JobSnooze(JobOutcome):
    """Run the job again after ``delay``, without using up an attempt.

    Args:
        delay: how long to wait, from zero to River's longest duration, some 292 years.

    Raises:
        ValidationError: ``delay`` is no timedelta, negative or longer.
    """

    def __init__(self, delay: timedelta) -> None:
        if not isinstance(delay, timedelta):
            raise ValidationError(f"JobSnooze: delay {delay!r}: use a timedelta, such as timedelta(seconds=60)")
        if not timedelta(0) <= delay <= _LONGEST_SNOOZE:
            raise ValidationError(f"JobSnooze: delay must be zero to {_LONGEST_SNOOZE}, got {delay}")
        super().__init__(f"snoozed for {delay}")
        self.delay = delay
