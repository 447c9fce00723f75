"""What of a job says which sequence it is in."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from rivermill import InsertOpts, InsertParams, SequenceOpts, ValidationError
from rivermill.insert_rows import make_rows, sequence_of
from rivermill.sequences import CONTINUE_ON, KEY, key_in


@dataclass
class Part:
    kind: ClassVar[str] = "part"
    of: str = "a"
    size: int = 1


@dataclass
class Other:
    kind: ClassVar[str] = "other"
    of: str = "a"
    size: int = 1


def key(args: Any, sequence: SequenceOpts, queue: str = "default") -> bytes | None:
    (row,) = make_rows([InsertParams(args, InsertOpts(sequence=sequence, queue=queue))], 25)
    assert row.state == "pending"
    return sequence_of(row)


@pytest.mark.parametrize(
    ("sequence", "same", "different"),
    [
        (SequenceOpts(), [(Part("b"), "default"), (Part(), "other")], [(Other(), "default")]),
        (SequenceOpts(by_args=True), [(Part(), "other")], [(Part("b"), "default"), (Part(size=2), "default")]),
        (SequenceOpts(by_args=["of"]), [(Part(size=2), "default")], [(Part("b"), "default"), (Other(), "default")]),
        (SequenceOpts(by_queue=True), [(Part("b"), "default")], [(Part(), "other")]),
        (SequenceOpts(by_args=["of"], exclude_kind=True), [(Other(size=2), "other")], [(Part("b"), "default")]),
    ],
)
def test_which_jobs_are_in_one_sequence(
    sequence: SequenceOpts, same: list[tuple[Any, str]], different: list[tuple[Any, str]]
) -> None:
    mine = key(Part(), sequence)
    assert mine is not None
    assert {key(args, sequence, queue) for args, queue in same} == {mine}
    assert mine not in {key(args, sequence, queue) for args, queue in different}


def test_what_the_metadata_say() -> None:
    sequence = SequenceOpts(continue_on_cancelled=True, continue_on_discarded=True)
    (row,) = make_rows([InsertParams(Part(), InsertOpts(sequence=sequence, metadata={"own": 1}))], 25)
    metadata = json.loads(row.metadata)
    assert metadata == {"own": 1, KEY: key(Part(), SequenceOpts()).hex(), CONTINUE_ON: ["cancelled", "discarded"]}  # type: ignore[union-attr]
    (row,) = make_rows([InsertParams(Part(), InsertOpts(metadata={KEY: "00"}))], 25)
    assert sequence_of(row) is None


@pytest.mark.parametrize(
    ("metadata", "found"),
    [
        ("{}", None),
        (json.dumps({KEY: "00ff"}), b"\x00\xff"),
        (json.dumps({KEY: "x"}), None),
        (json.dumps({KEY: 5}), None),
        (json.dumps({"own": KEY}), None),
        (json.dumps([KEY]), None),
    ],
)
def test_a_key_that_is_read_back(metadata: str, found: bytes | None) -> None:
    assert key_in(metadata) == found


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exclude_kind": True}, "sequence exclude_kind=True: combine"),
        ({"by_args": "of"}, "sequence by_args 'of': pass a list"),
        ({"by_args": ["of."]}, "must not be empty"),
    ],
)
def test_what_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SequenceOpts(**options)
