"""The queues that a client works, which may be added and removed while it does. Mirrors River's ``QueueBundle``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from rivermill.config import QueueConfig, queue_config
from rivermill.errors import ConfigError, NotFoundError, ValidationError
from rivermill.insert_rows import check_queue


class QueueWork(Protocol):
    """Works queues: a client that runs."""

    async def begin(self, name: str, config: QueueConfig) -> None:
        """Work a queue from now on."""
        ...

    async def end(self, name: str) -> None:
        """Stop claiming from a queue; returns once none of its jobs is left here."""
        ...


class ClientQueues:
    """The queues of one client. Mirrors ``QueueBundle``.

    Args:
        configs: those to begin with.
        slots: jobs the process runs at once over all queues; None is the sum of their ``max_workers``.
        works: whether the client has workers.
        check: raises ConfigError where what a queue is given does not go with the client's settings.

    Attributes:
        configs: the queues at the moment. Every change replaces the mapping, so any thread may read it.
        work: what works them; None while the client does not run.
        total_slots: jobs the process runs at once.
    """

    def __init__(
        self,
        configs: Mapping[str, QueueConfig],
        slots: int | None,
        *,
        works: bool,
        check: Callable[[str, QueueConfig], None] = lambda _name, _config: None,
    ) -> None:
        self.configs: Mapping[str, QueueConfig] = {}
        self.work: QueueWork | None = None
        self.total_slots = 0
        self._slots = slots
        self._works = works
        self._check = check
        self._replace(dict(configs))

    def __iter__(self) -> Iterator[str]:
        return iter(self.configs)

    def __len__(self) -> int:
        return len(self.configs)

    async def add(self, name: str, config: int | QueueConfig) -> None:
        """Work one queue more: at once, if the client runs.

        Args:
            name: the queue.
            config: its slots in this process, or all about it.

        Raises:
            ConfigError: the client has no workers, has this queue already, or the name, a number or an interval is wrong.
            DatabaseUnavailableError: there is no connection; the queue is not added then.
            MigrationError: the settings have a rate limit for it, and there is no table for that; it is not added either.
        """
        if not self._works:
            raise ConfigError(f"queue {name!r}: a client without workers= cannot work it")
        try:
            check_queue(name)
        except ValidationError as error:
            raise ConfigError(str(error)) from error
        if name in self.configs:
            raise ConfigError(f"queue {name!r}: this client works it already; remove it first to change its slots")
        config = queue_config(name, config)
        self._check(name, config)
        self._replace({**self.configs, name: config})
        try:
            if self.work is not None:
                await self.work.begin(name, config)
        except BaseException:
            self._drop(name)
            raise

    async def remove(self, name: str) -> None:
        """Stop working a queue; returns when the jobs of it that run here have ended.

        Give it a limit with ``asyncio.timeout``: the queue is then not claimed from any more, and is gone after another call.

        Raises:
            NotFoundError: the client does not work it.
        """
        if name not in self.configs:
            raise NotFoundError(f"queue {name!r}: this client does not work it")
        if self.work is not None:
            await self.work.end(name)
        self._drop(name)

    def _drop(self, name: str) -> None:
        self._replace({other: config for other, config in self.configs.items() if other != name})

    def _replace(self, configs: Mapping[str, QueueConfig]) -> None:
        self.configs = configs
        sum_of_all = sum(config.max_workers for config in configs.values())
        self.total_slots = sum_of_all if self._slots is None else self._slots
