"""Paths as text, there and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from library.paths import decode_directory, decode_path, encode_path


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (b"", ""),
        ("Musik/Bj\u00f6rk".encode(), "Musik/Bj\u00f6rk"),
        (b"100%", "100%25"),
        (b"odd \xff", "odd %FF"),
        (b"line\nbreak\x1b", "line%0Abreak%1B"),
        (b"\xed\xa0\x80", "%ED%A0%80"),
    ],
)
def test_spelling(path: bytes, text: str) -> None:
    assert encode_path(path) == text
    assert decode_path(text) == path


@given(st.binary())
def test_every_path_comes_back_and_is_text(path: bytes) -> None:
    text = encode_path(path)
    assert decode_path(text) == path
    assert text.isprintable() or not any(ord(character) < 32 for character in text)
    text.encode("utf-8")


@given(st.text())
def test_a_text_stands_for_one_path_or_is_refused(text: str) -> None:
    try:
        path = decode_path(text)
    except ValueError:
        return
    assert encode_path(path) == text


@pytest.mark.parametrize("text", ["%", "%zz", "%ff", "%41", "a\nb", "\udcff"])
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="path"):
        decode_path(text)


@pytest.mark.parametrize("text", ["/etc", "..", "a/../../etc", "a//b", "a/", "./a", "a%00"])
def test_directories_are_inside_and_have_one_spelling(text: str) -> None:
    with pytest.raises(ValueError, match="inside the library"):
        decode_directory(text)
