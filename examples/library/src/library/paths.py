r"""Paths as text: a file name on Linux is bytes, an args field and a column are text.

The escape is reversible and has one spelling for each path: bytes that are UTF-8 stay as they are, except that ``%``, control
characters and every byte that is no UTF-8 become ``%XX`` (two upper-case hex digits a byte). So ``Björk`` stays ``Björk``,
``100%`` becomes ``100%25`` and ``b"odd \xff"`` becomes ``odd %FF``.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

_ESCAPED = re.compile("[%\x00-\x1f\x7f-\x9f\udc80-\udcff]")


def encode_path(path: bytes) -> str:
    """The text of a path."""

    def escape(match: re.Match[str]) -> str:
        return "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "surrogateescape"))

    return _ESCAPED.sub(escape, path.decode("utf-8", "surrogateescape"))


def decode_path(text: str) -> bytes:
    """The path that a text stands for.

    Raises:
        ValueError: ``encode_path`` never writes this text.
    """
    path = unquote_to_bytes(text.encode("utf-8", "surrogateescape"))
    if encode_path(path) != text:
        raise ValueError(
            f"path {text!r}: write % as %25, control characters and bytes that are no UTF-8 as %XX, all else as it is"
        )
    return path


def decode_directory(text: str) -> bytes:
    """The path of a directory relative to a library's root, which itself is ``""``.

    Raises:
        ValueError: it is not escaped as ``encode_path`` does, leads out of the library, or has an empty part or a NUL.
    """
    path = decode_path(text)
    if b"\0" in path or (path and {b"", b".", b".."} & set(path.split(b"/"))):
        raise ValueError(f"directory {text!r}: must be inside the library, written as names joined by single slashes")
    return path
