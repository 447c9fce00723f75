"""Named arguments of a job list's own condition."""

from __future__ import annotations

from typing import Any

import pytest

from rivermill import JobListParams, ValidationError
from rivermill.named_args import number_args


@pytest.mark.parametrize(
    ("condition", "args", "numbered", "values"),
    [
        ("attempt > 1", {}, "attempt > 1", []),
        ("attempt = @n", {"n": 3}, "attempt = $2", [3]),
        ("attempt = @n OR id = @n AND kind=@kind", {"kind": "a", "n": 3}, "attempt = $2 OR id = $2 AND kind=$3", [3, "a"]),
        ("kind = '@n' AND \"@n\" AND kind = 'it''s @n' AND id = @n", {"n": 1}, None, [1]),
        ("metadata @> '{}' AND tags <@ARRAY['a'] AND a @@b AND @ -5 > 0", {}, None, []),
        ("kind = '$1' AND \"$1\" = a$1 AND kind = $a$ $a$", {}, "kind = '$1' AND \"$1\" = a$1 AND kind = $a$ $a$", []),
        ("attempt = @ns AND id = @n", {"n": 1, "ns": 2}, "attempt = $2 AND id = $3", [2, 1]),
    ],
)
def test_each_name_has_one_number(condition: str, args: dict[str, Any], numbered: str | None, values: list[Any]) -> None:
    found: list[Any] = ["limit"]
    expected = condition.replace("id = @n", "id = $2") if numbered is None else numbered
    assert number_args(condition, args, found) == expected
    assert found == ["limit", *values]


@pytest.mark.parametrize(
    ("where", "args", "said"),
    [
        ("id = @n", {}, "where @n"),
        ("id = 1", {"n": 1}, "where_args n"),
        ("", {"n": 1, "m": 2}, "where_args m, n"),
        ("id = $1", {}, r"where \$1: write @name"),
        ("id = $1", {"n": 1}, r"where \$1: write @name"),
        ("id = 1", [1], "where_args={"),
        (7, {}, "where: use a text"),
    ],
)
def test_names_and_values_must_fit(where: str, args: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        JobListParams(where=where, where_args=args)
