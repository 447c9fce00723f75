"""Never do two replicas act, whatever the API server does with their requests, and whoever is left acts soon."""

from __future__ import annotations

import asyncio
import copy
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from rivermill_operator.control.lease import DURATION_SECONDS, RENEW_DEADLINE_SECONDS, RETRY_SECONDS, Elector
from rivermill_operator.kube.port import KubeError


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to the next timer, so that minutes take no time and every instant is exact."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:
            self._now = max(self._now, self._scheduled[0].when())
        super()._run_once()


def virtually(work: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await work()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())


@dataclass
class Leases:
    """The Leases of an API server, with its rule that a write needs the version it was made from.

    ``before`` and ``after`` are awaited around what a request does, and may wait or raise.
    """

    lease: dict[str, Any] | None = None
    version: int = 0
    before: Callable[[str], Awaitable[None]] = field(default=lambda _: asyncio.sleep(0.01))
    after: Callable[[str], Awaitable[None]] = field(default=lambda _: asyncio.sleep(0.01))

    async def request(self, method: str, path: str, *, body: Any = None, **_: Any) -> dict[str, Any]:
        await self.before(method)
        answer = self._do(method, copy.deepcopy(body))
        await self.after(method)
        return answer

    def _do(self, method: str, body: Any) -> dict[str, Any]:
        if method == "GET" and self.lease is None:
            raise KubeError(404, "no such Lease")
        if method == "POST" and self.lease is not None:
            raise KubeError(409, "there is one")
        if method == "PUT" and (self.lease is None or body["metadata"]["resourceVersion"] != str(self.version)):
            raise KubeError(409, "the object has been modified")
        if method != "GET":
            self.version += 1
            self.lease = {**body, "metadata": {"name": "l", "resourceVersion": str(self.version)}}
        return copy.deepcopy(self.lease or {})

    def holder(self) -> str:
        return str(self.lease["spec"]["holderIdentity"]) if self.lease else ""


def elector(leases: Leases, identity: str) -> Elector:
    return Elector(leases, "n", "l", identity)


def now() -> float:
    return asyncio.get_running_loop().time()


async def cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize(
    "lease",
    [
        None,
        {"metadata": {"resourceVersion": "0"}},
        {"metadata": {"resourceVersion": "0"}, "spec": {}},
        {"metadata": {"resourceVersion": "0"}, "spec": {"holderIdentity": None, "leaseTransitions": None}},
        {"metadata": {"resourceVersion": "0"}, "spec": {"holderIdentity": ""}},
        {"metadata": {"resourceVersion": "0"}, "spec": {"holderIdentity": "me"}},
    ],
)
def test_a_lease_that_nobody_holds_is_acquired_and_kept(lease: dict[str, Any] | None) -> None:
    async def work() -> None:
        leases = Leases(lease)
        me = elector(leases, "me")
        election = asyncio.create_task(me.run())
        await asyncio.wait_for(me.acquired.wait(), 1)
        await asyncio.sleep(600)
        assert not election.done()
        assert leases.holder() == "me"
        await cancel(election)

    virtually(work)


def test_another_takes_over_when_the_lease_has_run_out_and_not_before() -> None:
    async def work() -> None:
        leases = Leases()
        first, second = elector(leases, "first"), elector(leases, "second")
        election = asyncio.create_task(first.run())
        await first.acquired.wait()
        other = asyncio.create_task(second.run())
        await asyncio.sleep(60)
        await cancel(election)
        last = now()
        await second.acquired.wait()
        # The last renewal is up to one pause old, is seen up to one later, and its end is looked for once in a pause.
        pause = 1.1 * RETRY_SECONDS + 0.1
        assert DURATION_SECONDS - pause <= now() - last <= DURATION_SECONDS + 2 * pause
        assert leases.lease is not None
        assert leases.lease["spec"]["leaseTransitions"] == 1
        await cancel(other)

    virtually(work)


def test_a_released_lease_is_taken_at_the_next_look() -> None:
    async def work() -> None:
        leases = Leases()
        first, second = elector(leases, "first"), elector(leases, "second")
        election = asyncio.create_task(first.run())
        await first.acquired.wait()
        other = asyncio.create_task(second.run())
        await asyncio.sleep(60)
        await cancel(election)
        await first.release()
        last = now()
        await second.acquired.wait()
        assert now() - last < 3
        await second.release()
        await cancel(other)

    virtually(work)


async def _hang(method: str) -> None:
    await asyncio.sleep(3600)


async def _refuse(method: str) -> None:
    raise KubeError(0, "no connection")


async def _late(method: str) -> None:
    """Each request is late, but not so late that a try is given up."""
    await asyncio.sleep(0.5)


async def _late_then_refuse(method: str) -> None:
    await asyncio.sleep(0.5)
    raise KubeError(500, "etcd is away")


@pytest.mark.parametrize("fault", [_hang, _refuse, _late_then_refuse])
@pytest.mark.parametrize("good", [None, _late])
def test_the_election_ends_before_its_deadline_counted_from_before_the_last_renewal(
    fault: Callable[[str], Awaitable[None]], good: Callable[[str], Awaitable[None]] | None
) -> None:
    """Others count from when they see the renewal, which may be as early as when it was asked for."""

    async def work() -> None:
        leases = Leases()
        if good is not None:
            leases.before = leases.after = good
        renewed: list[float] = []
        inner = leases.request

        async def request(method: str, path: str, **options: Any) -> dict[str, Any]:
            asked = now()
            answer = await inner(method, path, **options)
            if method != "GET":
                renewed.append(asked)
            return answer

        leases.request = request  # type: ignore[method-assign]
        me = elector(leases, "me")
        election = asyncio.create_task(me.run())
        await me.acquired.wait()
        await asyncio.sleep(30)
        leases.before = fault
        await election
        assert 5 < now() - renewed[-1] <= RENEW_DEADLINE_SECONDS

    virtually(work)


@pytest.mark.parametrize("spec", [{"holderIdentity": "other", "leaseDurationSeconds": 15}])
def test_the_election_ends_when_another_holds_the_lease(spec: Mapping[str, Any]) -> None:
    async def work() -> None:
        leases = Leases()
        me = elector(leases, "me")
        election = asyncio.create_task(me.run())
        await me.acquired.wait()
        await asyncio.sleep(30)
        assert leases.lease is not None
        leases.version += 1
        leases.lease = {"metadata": {"resourceVersion": str(leases.version)}, "spec": dict(spec)}
        since = now()
        await election
        assert now() - since < 3

    virtually(work)


def test_a_process_that_stood_still_does_not_go_on() -> None:
    """Somebody may have held the lease meanwhile and given it up again."""

    async def work() -> None:
        leases = Leases()
        me = elector(leases, "me")
        election = asyncio.create_task(me.run())
        await me.acquired.wait()
        await asyncio.sleep(30)
        asyncio.get_running_loop()._now += 20  # type: ignore[attr-defined]
        asked = leases.version
        await election
        assert leases.version == asked

    virtually(work)


@pytest.mark.parametrize("seed", range(4))
def test_two_never_act(seed: int) -> None:
    async def work() -> None:
        rng = random.Random(seed)
        leases = Leases()

        async def fault(method: str) -> None:
            broken = rng.random() < 0.5 if int(now()) // 40 % 2 else rng.random() < 0.02
            await asyncio.sleep(rng.choice([0.01, 0.01, 1.0, 3.0, 20.0]) if broken else 0.01)
            if broken and rng.random() < 0.5:
                raise KubeError(rng.choice([0, 429, 500]), "fault")

        leases.before = leases.after = fault
        acting: set[str] = set()
        most = terms = 0

        async def replica(name: str) -> None:
            nonlocal most, terms
            for term in range(10_000):
                me = elector(leases, f"{name}-{term}")
                election = asyncio.create_task(me.run())
                acquired = asyncio.create_task(me.acquired.wait())
                await asyncio.wait({election, acquired}, return_when=asyncio.FIRST_COMPLETED)
                acting.add(name)
                most, terms = max(most, len(acting)), terms + 1
                killed = rng.uniform(1, 200)
                await asyncio.wait({election}, timeout=killed)
                acting.discard(name)
                await cancel(election, acquired)
                if rng.random() < 0.5:
                    await me.release()
                await asyncio.sleep(rng.uniform(0, 5))

        replicas = [asyncio.create_task(replica(name)) for name in ("a", "b", "c")]
        await asyncio.sleep(600)
        await cancel(*replicas)
        assert most == 1
        assert terms > 2

    virtually(work)
