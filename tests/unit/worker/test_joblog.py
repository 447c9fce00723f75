"""Which log entries are kept, and what a page of them holds."""

from __future__ import annotations

import pytest

from rivermill import ConfigError, JobLog
from rivermill.joblog import _Page, earlier_entries, newest_entries


@pytest.mark.parametrize(
    ("most", "kept"),
    [
        (len("[aaaa,bbb,cc,new]"), [b"aaaa", b"bbb", b"cc", b"new"]),
        (len("[aaaa,bbb,cc,new]") - 1, [b"bbb", b"cc", b"new"]),
        (len("[bbb,cc,new]") - 1, [b"cc", b"new"]),
        (1, [b"new"]),
    ],
)
def test_the_oldest_go_first_and_the_newest_stays(most: int, kept: list[bytes]) -> None:
    assert newest_entries([b"aaaa", b"bbb", b"cc"], b"new", most) == kept


def test_entries_of_others_are_kept_as_they_are() -> None:
    metadata = '{"a": 1, "river:log": [{"attempt": 1, "log": "x", "n": 1e400}, {"log": "y"}]}'
    assert earlier_entries(metadata) == [b'{"attempt": 1, "log": "x", "n": 1e400}', b'{"log": "y"}']
    assert earlier_entries("{}") == []


@pytest.mark.parametrize("metadata", ["[]", '{"river:log": {"a": 1}}', "", '{"river:log": [}'])
def test_another_form_is_refused(metadata: str) -> None:
    with pytest.raises(ValueError, match="river:log"):
        earlier_entries(metadata)


def test_a_page_has_an_end() -> None:
    page = _Page(7)
    for text in ("aé", "b\0", "öö", "more"):
        page.write(text)
    assert (page.text(), page.dropped) == ("aéb\ufffdö", 3 + 3)


@pytest.mark.parametrize("wrong", ["max_bytes", "max_total_bytes"])
def test_bytes_are_above_nothing(wrong: str) -> None:
    with pytest.raises(ConfigError, match=wrong):
        JobLog(**{wrong: 0})
