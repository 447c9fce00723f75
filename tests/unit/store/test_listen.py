"""How soon a lost LISTEN connection is made again."""

from __future__ import annotations

import pytest

from rivermill_operator.store.listen import back_off


@pytest.mark.parametrize(
    ("failures", "refused", "seconds"),
    [(0, False, 0.5), (2, False, 2.0), (99, False, 3.0), (2, True, 2.0), (99, True, 30.0)],
)
def test_a_server_that_is_away_is_tried_more_often_than_one_that_refuses(failures: int, refused: bool, seconds: float) -> None:
    assert back_off(failures, refused=refused) == seconds
