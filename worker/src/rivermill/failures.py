"""What a client does about attempts that fail before its next heartbeat tells of them.

An operator that tries a release on one client learns of its failures at once, and a client whose first attempts fail claims
nothing while the operator thinks: a release that fails every job would else burn as many as it can claim in that time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from rivermill.config import PodIdentity
from rivermill.gate import Gate

#: Failures that are worth a report; the next is worth one when they have doubled.
LEAST = 3
#: The attempts of a trial: a client that has ended more is not held any more.
FIRST_ATTEMPTS = 20
#: Longer than an operator that is there takes to look and to cordon the client.
HOLD_SECONDS = 5.0

logger = logging.getLogger("rivermill.runtime")


class Failures:
    """Counts the failed attempts of one client.

    Args:
        pod: where it runs; outside of Kubernetes no operator could think about it.
        attempts: those that have ended, by queue: all of them, and those that failed.
        gate: held for a moment where most of the first attempts fail.
        report: writes a heartbeat.

    Attributes:
        reports: heartbeats that were asked for.
    """

    def __init__(
        self,
        pod: PodIdentity,
        attempts: Callable[[], Mapping[str, tuple[int, int]]],
        gate: Gate,
        report: Callable[[], None],
    ) -> None:
        self._pod = pod
        self._attempts = attempts
        self._gate = gate
        self._report = report
        self._failed = 0
        self._next = LEAST
        self.reports = 0

    def add(self) -> None:
        """An attempt has failed, and is counted."""
        self._failed += 1
        if self._failed < self._next:
            return
        self._next = 2 * self._failed
        ended = sum(ended for ended, _ in self._attempts().values())
        if self._pod.uid is not None and ended <= FIRST_ATTEMPTS and 2 * self._failed >= ended:
            logger.warning("most of the first attempts failed", extra={"attempts": ended, "no_claims_seconds": HOLD_SECONDS})
            self._gate.hold(HOLD_SECONDS)
        self.reports += 1
        self._report()
