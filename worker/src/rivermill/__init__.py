"""Rivermill: a full River worker in Python, on River's own Postgres schema."""

from rivermill.client import Client, JobQueue
from rivermill.client_queues import ClientQueues
from rivermill.config import PodIdentity, QueueConfig, Settings, load_settings
from rivermill.cron import Cron
from rivermill.errors import (
    ArgsDecodeError,
    ConfigError,
    DatabaseUnavailableError,
    JobCancel,
    JobFailure,
    JobInterruptedError,
    JobNotRunningError,
    JobOutcome,
    JobRunningError,
    JobSnooze,
    JobTimeoutError,
    LoginRefusedError,
    MigrationError,
    NotFoundError,
    NotStartedError,
    RivermillError,
    UniqueConflictError,
    UnknownKindError,
    ValidationError,
    WorkerCrashError,
)
from rivermill.events import Event, EventKind, JobStats, Subscription
from rivermill.extensions import ClaimMetric, Hook, Middleware, Plugin
from rivermill.handlers import ErrorHandler, ErrorHandlerResult, StuckJob
from rivermill.insert import JobInsertResult
from rivermill.insert_rows import InsertOpts, InsertParams
from rivermill.job import AttemptError, Job, JobRow, JobState
from rivermill.joblist import JobFilter, JobListCursor, JobListOrder, JobListParams, JobListResult
from rivermill.joblog import JobLog
from rivermill.limits import Concurrency, RateLimit
from rivermill.periodic import PeriodicJob, PeriodicJobs
from rivermill.queues import Queue
from rivermill.resumable import Step
from rivermill.schedules import Interval, Never, Schedule
from rivermill.sequences import SequenceOpts
from rivermill.sync import BlockingCallError, SyncClient
from rivermill.unique import UNIQUE_STATES_DEFAULT, Unique
from rivermill.worker import NO_TIMEOUT, Worker, Workers

__version__ = "0.1.0"

__all__ = [
    "NO_TIMEOUT",
    "UNIQUE_STATES_DEFAULT",
    "ArgsDecodeError",
    "AttemptError",
    "BlockingCallError",
    "ClaimMetric",
    "Client",
    "ClientQueues",
    "Concurrency",
    "ConfigError",
    "Cron",
    "DatabaseUnavailableError",
    "ErrorHandler",
    "ErrorHandlerResult",
    "Event",
    "EventKind",
    "Hook",
    "InsertOpts",
    "InsertParams",
    "Interval",
    "Job",
    "JobCancel",
    "JobFailure",
    "JobFilter",
    "JobInsertResult",
    "JobInterruptedError",
    "JobListCursor",
    "JobListOrder",
    "JobListParams",
    "JobListResult",
    "JobLog",
    "JobNotRunningError",
    "JobOutcome",
    "JobQueue",
    "JobRow",
    "JobRunningError",
    "JobSnooze",
    "JobState",
    "JobStats",
    "JobTimeoutError",
    "LoginRefusedError",
    "Middleware",
    "MigrationError",
    "Never",
    "NotFoundError",
    "NotStartedError",
    "PeriodicJob",
    "PeriodicJobs",
    "Plugin",
    "PodIdentity",
    "Queue",
    "QueueConfig",
    "RateLimit",
    "RivermillError",
    "Schedule",
    "SequenceOpts",
    "Settings",
    "Step",
    "StuckJob",
    "Subscription",
    "SyncClient",
    "Unique",
    "UniqueConflictError",
    "UnknownKindError",
    "ValidationError",
    "Worker",
    "WorkerCrashError",
    "Workers",
    "__version__",
    "load_settings",
]
