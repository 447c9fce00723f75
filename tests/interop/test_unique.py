"""Unique keys and stored args: River for Go and ours hash and store the same bytes."""

from __future__ import annotations

import random
import string
import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from rivermill import gojson
from rivermill.job import JobState
from rivermill.unique import Unique, unique_key
from tests.interop.peers import Peer

CASES = 6_000
_ALPHABET = string.printable + 'éß漢字😀\u00a0\u007f\u2028\u2029\ue000\ufffd\U0010ffff<>&"\\/' + "".join(map(chr, range(1, 32)))
_NAMES = string.ascii_letters + '._-@:!*?|#[]{}éß😀\ue000<>&"\\ 0123456789'

Described = dict[str, Any]


def _text(rng: random.Random, alphabet: str = _ALPHABET, longest: int = 12) -> str:
    return "".join(rng.choice(alphabet) for _ in range(rng.randrange(longest)))


def _float(rng: random.Random) -> float:
    special = (0.0, -0.0, 1.0, 1e-6, 9.999999e-7, 1e21, 9.99999999999999e20, 5e-324, 1.7976931348623157e308, 0.1, 1e-7, 100.0)
    while True:
        bits = struct.unpack(">d", rng.randbytes(8))[0]
        value = rng.choice((rng.choice(special), rng.uniform(-1e6, 1e6), float(rng.randrange(10**18)), bits))
        if value - value == 0:  # neither infinite nor NaN
            return value


def _integer(rng: random.Random) -> int:
    return rng.choice((rng.randrange(-1000, 1000), rng.randrange(-(2**63), 2**64), rng.randrange(10**40)))


def _time(rng: random.Random) -> datetime:
    zone = rng.choice((UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-8))))
    moment = datetime(2000, 1, 1, tzinfo=UTC) + timedelta(seconds=rng.randrange(2**31))
    return moment.replace(microsecond=rng.choice((0, 1, 120000, rng.randrange(10**6)))).astimezone(zone)


def _scalar(rng: random.Random) -> tuple[Any, Described]:
    makers: tuple[Callable[[], tuple[Any, Described]], ...] = (
        lambda: (None, {"type": "null"}),
        lambda: (True, {"type": "bool", "text": "true"}),
        lambda: (False, {"type": "bool", "text": "false"}),
        lambda: (n := _integer(rng), {"type": "int", "text": str(n)}),
        lambda: (f := _float(rng), {"type": "float", "text": struct.pack(">d", f).hex()}),
        lambda: (s := _text(rng), {"type": "string", "text": s}),
        lambda: (t := _time(rng), {"type": "time", "text": gojson.encode_time(t)}),
    )
    return rng.choice(makers)()


def _value(rng: random.Random, depth: int) -> tuple[Any, Described]:
    kind = rng.random()
    if depth == 0 or kind < 0.6:
        return _scalar(rng)
    if kind < 0.8:
        pairs = [_value(rng, depth - 1) for _ in range(rng.randrange(4))]
        return [pair[0] for pair in pairs], {"type": "list", "values": [pair[1] for pair in pairs]}
    return _object(rng, depth - 1)


def _object(rng: random.Random, depth: int) -> tuple[dict[str, Any], Described]:
    names = list(dict.fromkeys(_text(rng, _NAMES, 8) for _ in range(rng.randrange(6))))
    pairs = [_value(rng, depth) for _ in names]
    native = {name: pair[0] for name, pair in zip(names, pairs, strict=True)}
    return native, {"type": "struct", "names": names, "values": [pair[1] for pair in pairs]}


def _options(rng: random.Random) -> tuple[Unique, Described]:
    seconds = rng.choice((0, 0, 1, 60, 5400, 86_400, 7 * 86_400, rng.randrange(1, 10**7)))
    states = [s for s in JobState if s in _REQUIRED or rng.random() < 0.5] if rng.random() < 0.3 else []
    by_queue, exclude = rng.random() < 0.3, rng.random() < 0.2
    ours = Unique(True, timedelta(seconds=seconds) if seconds else None, by_queue, states, exclude)
    described = {
        "by_args": True,
        "by_period_ms": seconds * 1000,
        "by_queue": by_queue,
        "by_state": states,
        "exclude_kind": exclude,
    }
    return ours, described


_REQUIRED = (JobState.AVAILABLE, JobState.PENDING, JobState.RUNNING, JobState.SCHEDULED)


@pytest.mark.parametrize("seed", range(6))
async def test_random_args_give_the_same_key(go: Peer, seed: int) -> None:
    rng = random.Random(f"unique {seed}")
    cases, expected = [], []
    for _ in range(CASES // 6):
        native, described = _object(rng, 3)
        unique, options = _options(rng)
        moment, queue = _time(rng), rng.choice(("default", "priority_emails"))
        given = rng.random() < 0.5
        text = gojson.encode(native)
        key = unique_key(unique, kind="interop_random", args=text, queue=queue, at=moment)
        expected.append({"encoded": text, "key": key.hex(), "states": unique.state_mask})
        case = {"kind": "interop_random", "queue": queue, "unique": options, "value": described}
        cases.append(case | {("scheduled_at" if given else "now"): gojson.encode_time(moment)})
    results = (await go.call("unique_keys", cases=cases))["results"]
    assert len(results) == len(expected) == CASES // 6
    for mine, river in zip(expected, results, strict=True):
        assert mine == river


@pytest.mark.parametrize("seed", range(2))
async def test_selected_members_give_the_same_key(go: Peer, seed: int) -> None:
    rng = random.Random(f"selected {seed}")
    paths = ["tenant", "account.id", "account.region", "label", "payload"]
    cases, expected = [], []
    for number in range(250):
        native: dict[str, Any] = {"tenant": _integer(rng) % 2**63, "trace": _text(rng)}
        if rng.random() < 0.7:
            account = {name: f"x{_text(rng)}" for name in ("id", "note", "region") if rng.random() < 0.6}
            native["account"] = account
        native["label"] = rng.choice((None, _text(rng)))
        if rng.random() < 0.5:
            native["payload"] = {"z": [_integer(rng), None], "a": {"y": True, "x": _integer(rng)}}
        native["other"] = str(number)
        text = gojson.encode(native)
        key = unique_key(Unique(paths), kind="interop_selected", args=text, queue="default", at=datetime.now(UTC))
        expected.append({"encoded": text, "key": key.hex(), "states": 245})
        cases.append({"selected": native, "unique": {"by_args": True}})
    results = (await go.call("unique_keys", cases=cases))["results"]
    for mine, river in zip(expected, results, strict=True):
        assert mine == river
