"""Decisions as values: ``plan(observed, job_queue, memory)``. Pure, standard library only."""

from rivermill_operator.model.observed import Observed
from rivermill_operator.plan.decide import plan
from rivermill_operator.plan.plan import Memory, Plan

__all__ = ["Memory", "Observed", "Plan", "plan"]
