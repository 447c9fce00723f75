"""What limits a fleet, and what ``ScalingLimited`` calls it."""

from __future__ import annotations

from typing import Any

import pytest

from rivermill_operator.model.observed import FleetView, Observed, QueueDepth, ServerView, StoreView
from rivermill_operator.model.parse import parse_job_queue
from rivermill_operator.plan import Memory, bounds, plan
from tests.unit.plan.build import body, depth

MANY = 10**6
FULL = ServerView(connections_limit=100, connections_used=91)


def limited(queue: QueueDepth, database: dict[str, Any], scaling: dict[str, Any], server: ServerView) -> tuple[str, str, str]:
    value = body(**scaling)
    value["spec"]["database"] |= database
    decided = plan(Observed(0.0, StoreView((queue,), server=server)), parse_job_queue(value), Memory())
    return next((c.status, c.reason, c.message) for c in decided.conditions if c.type == "ScalingLimited")


@pytest.mark.parametrize(
    ("queue", "database", "scaling", "server", "reason", "message"),
    [
        (depth(), {}, {}, ServerView(), "WithinBounds", "No bound changed the outcome."),
        (depth(), {}, {"minReplicas": 2}, ServerView(), "MinReplicas", "Raised by minReplicas 2."),
        (depth(waiting=MANY), {}, {}, ServerView(), "MaxReplicas", "Limited by maxReplicas 20."),
        (
            depth(waiting=MANY),
            {"maxConnections": 30},
            {},
            ServerView(),
            "MaxConnections",
            "Limited by maxReplicas 20, maxConnections 30 at 3 a pod.",
        ),
        (
            depth(waiting=MANY),
            {"maxConnections": 30},
            {"maxReplicas": 5},
            ServerView(),
            "MaxReplicas",
            "Limited by maxReplicas 5.",
        ),
        (
            depth(waiting=MANY),
            {"maxConnections": 30},
            {},
            FULL,
            "ServerConnections",
            "Limited by maxReplicas 20, maxConnections 30 at 3 a pod, the server's 100 connections, 91 in use by others.",
        ),
        (
            depth(waiting=MANY, concurrency_limit=25),
            {},
            {},
            ServerView(),
            "ConcurrencyLimit",
            "Limited by the limit of 25 running jobs of queue default.",
        ),
        (
            depth(waiting=MANY, concurrency_limit=25),
            {},
            {"maxReplicas": 2},
            ServerView(),
            "MaxReplicas",
            "Limited by the limit of 25 running jobs of queue default, maxReplicas 2.",
        ),
        (
            depth(waiting=MANY, rate_limit=0.4),
            {},
            {},
            ServerView(),
            "RateLimit",
            "Limited by the rate limit of queue default, which 5 slots can use up.",
        ),
        (depth(waiting=1, paused=True), {}, {}, ServerView(), "QueuePaused", "Limited by the pause of queue default."),
        (depth(), {}, {"manualReplicas": 3}, ServerView(), "ManualReplicas", "Set by manualReplicas 3."),
        (
            depth(),
            {},
            {"manualReplicas": 30},
            ServerView(),
            "MaxReplicas",
            "Set by manualReplicas 30, limited by maxReplicas 20.",
        ),
    ],
)
def test_the_condition_names_the_bound_that_set_the_number(
    queue: QueueDepth, database: dict[str, Any], scaling: dict[str, Any], server: ServerView, reason: str, message: str
) -> None:
    status = "False" if reason == "WithinBounds" else "True"
    assert limited(queue, database, scaling, server) == (status, reason, message)


@pytest.mark.parametrize(
    ("fleet", "used", "most"),
    [
        # Of the server's hundred connections, ten are others': there is room for 30 pods, those that are going included.
        (FleetView(5, 5), 25, 30),
        (FleetView(20, 5, draining=15), 70, 30),
        # A rollout has ten pods beyond the fleet's size.
        (FleetView(20, 10, beside=10), 70, 30),
        # Pods that are there stay, whatever others open.
        (FleetView(20, 20), 100, 20),
    ],
)
def test_all_pods_of_the_fleet_are_told_from_others_connections(fleet: FleetView, used: int, most: int) -> None:
    spec = parse_job_queue(body(maxReplicas=100)).spec
    assert bounds.apply(spec, 100, ServerView(0, 100, used), fleet).replicas == most
