"""Arrivals per second, seconds per job and seconds per pod start, from what was observed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rivermill_operator.model.observed import FleetView, QueueDepth
from rivermill_operator.plan.memory import Burst, QueueMemory, Sample, ScalingMemory

SLOW_SECONDS = 60.0
FAST_SECONDS = 10.0
LONGEST_SECONDS = 1800.0
#: A burst is what a Poisson stream shows once in about 700 looks.
SIGMAS = 3.0
#: The share of a burst's jobs that tells how long it has lasted.
BURST_SHARE = 0.9
#: Durations that an estimate rests on, more where they vary more; the first are averaged plainly, counted to the most.
LEAST_JOBS = 50
MOST_JOBS = 10_000
JOB_MEMORY_SECONDS = 20.0
#: Running jobs change the estimate when they are so many times older than it lets expect.
SURPRISE = 4.0
POD_WEIGHT = 0.2
POD_START_SEED_SECONDS = 30.0
#: A pod that takes longer than so many starts is no capacity.
STUCK_STARTS = 2.0
STUCK_SECONDS = 60.0
_KEPT_STARTS = 20
_FAST_SAMPLES = 8
_SLOW_SAMPLES = 24


@dataclass(frozen=True, slots=True)
class Rate:
    """Arrivals of one queue.

    Attributes:
        slow: jobs/s over the long window.
        fast: jobs/s over the short window.
        base: jobs/s to count on.
        excess: jobs/s that the burst adds to it.
        age: seconds that the burst has lasted; it is taken to last as long again.
    """

    slow: float = 0.0
    fast: float = 0.0
    base: float = 0.0
    excess: float = 0.0
    age: float = 0.0


@dataclass(frozen=True, slots=True)
class JobSeconds:
    """Duration of a queue's jobs.

    Attributes:
        mean: seconds that a job holds a slot.
        variation: squared coefficient of variation; 1 for an exponential distribution.
        measured: whether any job was seen.
    """

    mean: float
    variation: float = 1.0
    measured: bool = True


def windows(job_seconds: float) -> tuple[float, float]:
    """The long and the short window in seconds; both are long enough to see several jobs end."""
    slow = min(max(SLOW_SECONDS, 2 * job_seconds), LONGEST_SECONDS)
    return slow, min(max(FAST_SECONDS, job_seconds / 2), slow / 2)


def update_queue(memory: QueueMemory, depth: QueueDepth, assumed: float, now: float) -> tuple[QueueMemory, Rate, JobSeconds]:
    """Take one observation of a queue in.

    Args:
        memory: of this queue.
        depth: the observation.
        assumed: seconds per job while none was measured.
        now: monotonic seconds.
    """
    memory = _learn_jobs(memory, depth, now - memory.samples[-1][0] if memory.samples else math.inf)
    job = job_seconds(memory, depth, assumed)
    slow, fast = windows(job.mean)
    new, before = (now, depth.arrived), memory.samples
    if before and (new[1] < before[-1][1] or new[0] < before[-1][0]):
        # A count that went back begins a new series.
        before = ()
    since = memory.since if before and memory.since is not None else now
    memory = replace(memory, samples=_append(before, new, slow, fast), since=since)
    burst, rate = _rate(memory, now - since, now, slow, fast)
    return replace(memory, burst=burst), rate, job


def job_seconds(memory: QueueMemory, depth: QueueDepth, assumed: float) -> JobSeconds:
    """What a job of the queue takes; jobs that run far longer than that explains count although they have not ended.

    In a steady stream the running jobs are ``mean·(1 + variation)/2`` old on average, so that their age alone says nothing.
    A few stragglers say little too: their ages count beside the durations that made the estimate.
    """
    running = depth.running_seconds / depth.running if depth.running else 0.0
    if memory.job_seconds is None:
        return JobSeconds(max(assumed, running, 1e-3), measured=False)
    mean = memory.job_seconds
    variation = _variation(memory)
    if running > SURPRISE * mean * (1 + variation) / 2:
        mean += depth.running_seconds / min(memory.jobs, LEAST_JOBS)
    return JobSeconds(max(mean, 1e-3), variation)


def _learn_jobs(memory: QueueMemory, depth: QueueDepth, elapsed: float) -> QueueMemory:
    seen, known = depth.finished, memory.finished
    jobs = seen.jobs - known.jobs
    if jobs <= 0:
        return replace(memory, finished=seen)
    mean = max(0.0, seen.seconds - known.seconds) / jobs
    square = max(0.0, seen.seconds_squared - known.seconds_squared) / jobs
    weight = max(jobs / (memory.jobs + jobs), _weight(jobs, _variation(memory), elapsed))
    old = mean if memory.job_seconds is None else memory.job_seconds
    old_square = square if memory.job_seconds is None else memory.job_seconds_squared
    return replace(
        memory,
        finished=seen,
        jobs=min(memory.jobs + jobs, MOST_JOBS),
        job_seconds=old + weight * (mean - old),
        job_seconds_squared=old_square + weight * (square - old_square),
    )


def _weight(jobs: int, variation: float, elapsed: float) -> float:
    """Of the newest durations: by their number, but many short jobs shall not make the mean follow the noise of a second."""
    remembered = LEAST_JOBS * max(1.0, (1 + variation) / 2)
    return min(1 - math.exp(-jobs / remembered), 1 - math.exp(-max(0.0, elapsed) / JOB_MEMORY_SECONDS))


def _variation(memory: QueueMemory) -> float:
    if not memory.job_seconds:
        return 1.0
    return max(0.0, memory.job_seconds_squared / memory.job_seconds**2 - 1)


def _append(samples: tuple[Sample, ...], new: Sample, slow: float, fast: float) -> tuple[Sample, ...]:
    """Add a sample and forget what no window needs."""
    horizon = new[0] - slow - fast
    kept: list[Sample] = []
    for sample in samples:
        if sample[0] <= horizon:
            kept = [sample]
            continue
        spacing = fast / _FAST_SAMPLES if new[0] - sample[0] <= 2 * fast else slow / _SLOW_SAMPLES
        if not kept or sample[0] - kept[-1][0] >= spacing:
            kept.append(sample)
    return (*kept, new)


def _count_rate(samples: Sequence[Sample], end: float, window: float, least: float) -> float:
    """Arrivals/s in the window before ``end``; ``least`` seconds at least, since a moment's arrivals are no rate."""
    last = _at(samples, end)
    first = _at(samples, end - window)
    return max(0, last[1] - first[1]) / max(last[0] - first[0], least)


def _at(samples: Sequence[Sample], time: float) -> Sample:
    """The newest sample that is not younger than ``time``, else the oldest."""
    found = samples[0]
    for sample in samples:
        if sample[0] > time:
            break
        found = sample
    return found


def _rate(memory: QueueMemory, watched: float, now: float, slow_window: float, fast_window: float) -> tuple[Burst | None, Rate]:
    """What comes, of a queue that has been watched for so many seconds."""
    samples = memory.samples
    # Where the windows have grown, no sample is left from before the shorter ones: the others tell the rate all the same.
    least = fast_window if watched < fast_window else min(fast_window, now - samples[0][0])
    slow = _count_rate(samples, now, slow_window, least)
    fast = _count_rate(samples, now, fast_window, least)
    # Before a short window of looks has passed, both windows hold the same jobs: the queue is taken to have been idle before.
    usual = slow if watched >= fast_window else 0.0
    fires = fast > usual + SIGMAS * math.sqrt(max(usual, 1 / slow_window) / fast_window)
    burst = memory.burst
    if fires:
        before = _count_rate(samples, now - fast_window, slow_window, fast_window)
        burst = replace(burst, seen=now) if burst else Burst(now - fast_window / 2, before, now)
    elif burst is not None and now - burst.seen > fast_window:
        burst = None
    if burst is None:
        # What a finished burst left in the long window is forgotten as soon as the short one contradicts it.
        limit = fast + SIGMAS * math.sqrt(max(fast, 1 / fast_window) / fast_window)
        return None, Rate(slow, fast, min(slow, limit))
    base = min(burst.base, fast)
    return burst, Rate(slow, fast, base, fast - base, _lasted(samples, burst.since))


def _lasted(samples: Sequence[Sample], since: float) -> float:
    """Seconds of a burst up to its last arrival, told from when most of its jobs had come: stragglers do not make it longer."""
    begin, end = _at(samples, since)[1], samples[-1][1]
    most = next(time for time, count in samples if count >= end - (1 - BURST_SHARE) * max(0, end - begin))
    return max(0.0, most - since) / BURST_SHARE


def learn_pod_starts(memory: ScalingMemory, fleet: FleetView, now: float) -> ScalingMemory:
    """Take in the pods that became Ready, and remember which are starting."""
    mean = memory.pod_start_seconds
    for seconds in fleet.started:
        mean = seconds if mean is None else mean + POD_WEIGHT * (seconds - mean)
    return replace(
        memory,
        starting=tuple(pod.uid for pod in fleet.starting if pod.uid),
        pod_starts=(*memory.pod_starts, *fleet.started)[-_KEPT_STARTS:],
        pod_start_seconds=mean,
        ready_at=now if fleet.started else memory.ready_at,
    )


def late_seconds(memory: ScalingMemory) -> float:
    """Seconds after which a pod with a node should have become Ready."""
    return STUCK_STARTS * max(memory.pod_start_seconds or POD_START_SEED_SECONDS, STUCK_SECONDS)


def pod_start_seconds(memory: ScalingMemory, fleet: FleetView) -> float:
    """What a pod takes to start; pods that already take longer count although they are not Ready.

    Until they are late, that is: a pod that never starts says no more of those that do, and would make the scale-in window grow
    for as long as it is there.
    """
    mean = POD_START_SEED_SECONDS if memory.pod_start_seconds is None else memory.pod_start_seconds
    ages = sorted(pod.age_seconds for pod in fleet.starting if not pod.warm)
    return max(mean, min(ages[len(ages) // 2], late_seconds(memory))) if ages else mean
