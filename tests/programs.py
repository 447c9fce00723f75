"""Programs of Debian that single tests need."""

from __future__ import annotations

import os

import pytest

from devcluster import debian


def installed(name: str, package: str | None = None) -> str:
    """Where a program is; it is installed if it is missing, and the test is skipped where only root could do that.

    Args:
        name: the program.
        package: what brings it; None is a package of its name.
    """
    if debian.find(name) is None and os.geteuid() != 0:
        pytest.skip(f"{name} is not installed, and only root may install it")
    return debian.program(name, package)
