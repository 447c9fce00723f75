"""One look at the world: the cache of Kubernetes, the database that the Secret names, and other writers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from rivermill_operator.control.views import PodViews, deployment_view
from rivermill_operator.kube.port import Kube, KubeError
from rivermill_operator.model.observed import INVALID_SPEC, PAUSED, Observed, StoreView, Unknown
from rivermill_operator.model.spec import JobQueue, Mode
from rivermill_operator.plan import Memory
from rivermill_operator.plan.probes import probes
from rivermill_operator.plan.reasons import SECRET_REASONS
from rivermill_operator.store.port import REFUSED, Store, StoreError, StoreProvider, Usage

OBSERVE_SECONDS = 10.0
#: Between two looks at a Secret while the database cannot be read with what it says, at least and at most; in between as long
#: as this share of the time since when that has been so.
_DOUBT_SECONDS, _LONGEST_DOUBT_SECONDS, _DOUBT_SHARE = 2.0, 15.0, 1 / 15
#: The loops of all JobQueues have begun by then.
BEGUN_SECONDS = 15.0
_ABOUT_THE_URL = REFUSED | {"DatabaseUnreachable", "Timeout"}
_FIELD = "spec.database.urlSecretRef"
#: What another Secret may mend. A database that is slow has been reached.
_ABOUT_THE_SECRET = SECRET_REASONS | {"SecretForbidden", "SecretUnreadable"} | (_ABOUT_THE_URL - {"Timeout"})

logger = logging.getLogger("rivermill.control.observe")


class Observer:
    """Looks for one ``JobQueue``.

    Args:
        key: namespace and name.
        kube: where its fleet is.
        stores: where its jobs are.
        contested: by whom, as the last operator found it: whose loop begins a little later is not gone.
    """

    def __init__(self, key: tuple[str, str], kube: Kube, stores: StoreProvider, contested: str | None = None) -> None:
        self._key = key
        self._kube = kube
        self._stores = stores
        self._pods = PodViews()
        self._contested, self._began = contested, time.monotonic()
        #: What the Secret said last; seconds until it is looked at again, while the database cannot be read with it.
        self._dsn: str | None = None
        self._source: tuple[str, str] | None = None
        self.doubted: float | None = None
        #: The same at the last look, or why it said nothing.
        self._said: str | None = None
        self._conflict: str | None = None
        self._looked = False
        self._unlisted: str | None = None
        self._unknown_since: float | None = None
        self._readable_since: float | None = None
        self.store: Store | None = None
        #: What the API server would not have written last, for the next look to tell.
        self.refused: str | None = None

    async def renewed(self, job_queue: JobQueue) -> bool:
        """Whether the Secret says something else than at the last look; why it says nothing counts, too."""
        try:
            return await self._find_dsn(job_queue) != self._said
        except StoreError as error:
            return error.reason != self._said

    async def observe(self, job_queue: JobQueue, memory: Memory) -> Observed:
        """Look once."""
        store: StoreView | Unknown
        fleet = self._kube.fleet(*self._key)
        now = datetime.now(UTC)
        pods = self._pods.see(fleet.pods, now)
        deployments = tuple(deployment_view(obj, now) for obj in fleet.deployments)
        if job_queue.spec.mode is Mode.PAUSED and not job_queue.deleting:
            self._leave_database()
            return Observed(time.monotonic(), PAUSED, deployments, pods, utc=now)
        if job_queue.wrong is not None and not job_queue.deleting:
            self.doubted = None
            store = Unknown(INVALID_SPEC, job_queue.wrong)
            return Observed(time.monotonic(), store, deployments, pods, utc=now)
        try:
            async with asyncio.timeout(OBSERVE_SECONDS):
                self.store = await self._open(job_queue)
                # Also of pods that have gone since the last look: their jobs may run on, or be lost.
                uids = dict.fromkeys([*(pod.uid for pod in pods), *memory.homes, *(uid for uid, _ in memory.lost)])
                store = await self.store.observe(probes(job_queue.spec, memory.scaling), [*uids])
            self._unknown_since = self.doubted = None
            self._readable_since = self._readable_since or time.monotonic()
        except (StoreError, TimeoutError) as error:
            store = self._unknown(error, job_queue)
        conflict = await self._find_conflict([deployment.name for deployment in deployments])
        unlooked = None if self._looked else self._unlisted
        # Both clocks at one moment: replicas set by hand are told the time of day since when they are.
        moment, utc = time.monotonic(), datetime.now(UTC)
        readable = 0.0 if self._readable_since is None else moment - self._readable_since
        return Observed(moment, store, deployments, pods, conflict, utc, unlooked, self.refused, readable)

    def _leave_database(self) -> None:
        self._stores.release(self._key)
        self.store = self._dsn = self._unknown_since = self._readable_since = self.doubted = None

    def _unknown(self, error: StoreError | TimeoutError, job_queue: JobQueue) -> Unknown:
        now = time.monotonic()
        self._unknown_since, self._readable_since = self._unknown_since or now, None
        known = error if isinstance(error, StoreError) else StoreError("Timeout", "The database did not answer in time.")
        pause = min(_LONGEST_DOUBT_SECONDS, max(_DOUBT_SECONDS, _DOUBT_SHARE * (now - self._unknown_since)))
        self.doubted = pause if known.reason in _ABOUT_THE_SECRET else None
        message = known.message
        if known.reason in _ABOUT_THE_URL:
            database = job_queue.spec.database
            message += f" The URL is key {database.secret_key} of Secret {database.secret_name} ({_FIELD})."
        return Unknown(known.reason, message, now - self._unknown_since)

    async def _open(self, job_queue: JobQueue) -> Store:
        source = (job_queue.spec.database.secret_name, job_queue.spec.database.secret_key)
        if source != self._source:
            self._source, self._dsn = source, None
        try:
            self._dsn = self._said = await self._find_dsn(job_queue)
        except StoreError as error:
            self._said = error.reason
            raise
        queues = frozenset(queue.name for queue in job_queue.spec.queues)
        return self._stores.use(self._key, self._dsn, Usage(job_queue.created, job_queue.spec.database.schema, queues))

    async def _find_dsn(self, job_queue: JobQueue) -> str:
        """What the Secret says; what it said last where the API server does not answer."""
        try:
            return await self._read_secret(job_queue)
        except KubeError as error:
            name, namespace = job_queue.spec.database.secret_name, job_queue.namespace
            if error.refused:
                message = (
                    f"{_FIELD}.name: the operator may not read Secret {name} in namespace {namespace}; give it the right to "
                    f"get Secrets there: {error}"
                )
                raise StoreError("SecretForbidden", message) from None
            if self._dsn is None:
                message = (
                    f"{_FIELD}.name: Secret {name} in namespace {namespace} could not be read, which is tried again: {error}"
                )
                raise StoreError("SecretUnreadable", message) from None
            return self._dsn

    async def _read_secret(self, job_queue: JobQueue) -> str:
        database = job_queue.spec.database
        if not database.secret_name:
            raise StoreError(INVALID_SPEC, f"The database cannot be read, for the spec is wrong: {job_queue.wrong}.")
        name, key = database.secret_name, database.secret_key
        data = await self._kube.secret(job_queue.namespace, name, within=self.doubted)
        if data is None:
            message = (
                f"{_FIELD}.name: there is no Secret {name} in namespace {job_queue.namespace}; "
                f"make it, with the postgresql:// URL in its key {key}, or name another."
            )
            raise StoreError("SecretNotFound", message)
        if key not in data:
            message = (
                f"{_FIELD}.key: Secret {name} has no key {key}; put the postgresql:// URL there, or name the key that has it."
            )
            raise StoreError("SecretKeyMissing", message)
        try:
            return data[key].decode().strip()
        except UnicodeDecodeError:
            message = "The database URL is not text; write postgresql://USER:PASSWORD@HOST/DATABASE."
            raise StoreError("InvalidDatabaseURL", message) from None

    async def _find_conflict(self, deployments: Sequence[str]) -> str | None:
        await self._look_for_scalers(deployments)
        if self._conflict is None and self._dsn is not None:
            other = self._stores.older_user(self._key, self._dsn)
            if other is not None:
                return f"JobQueue {'/'.join(other[0])} works queue {other[1]} of this database too: leave it to one of them."
        if self._conflict is None and time.monotonic() - self._began < BEGUN_SECONDS:
            return self._contested
        return self._conflict

    async def _look_for_scalers(self, deployments: Sequence[str]) -> None:
        """Where that fails, the last answer counts."""
        try:
            self._conflict = await self._kube.conflict(*self._key, deployments)
            self._looked, self._unlisted = True, None
        except KubeError as error:
            known, self._unlisted = self._unlisted, f"Nobody could look for other autoscalers: {error}"
            if self._unlisted != known:
                logger.warning(
                    "cannot look for other autoscalers", extra={"jobqueue": "/".join(self._key), "error": str(error)}
                )
