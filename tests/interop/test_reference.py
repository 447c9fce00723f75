"""The River that is compared with has the migrations that ours were written from, so a new version of it is noticed."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from devcluster.binaries import find_go
from tests.interop.peers import SOURCE

MIGRATIONS = [
    ("001_create_river_migration.down.sql", "34c87dc594bf7520bc3ae69f6f0da8d2d9a472616ab38b37e63d4e3838da06d2"),
    ("001_create_river_migration.up.sql", "79def9ab1643beee7776c499559ec199a03b5b26036c122dc3ba13ec3d078dc0"),
    ("002_initial_schema.down.sql", "8e7e73755b3e9cd1d46f0dffeadd427b86af13cea2f41f3d30af1624329db9b9"),
    ("002_initial_schema.up.sql", "8915c00d08ed98625865c705b6fd0bd14c113b7cdd0cb218ee894eca1d32ad03"),
    ("003_river_job_tags_non_null.down.sql", "bca44f6f0e926411c9e26e7ce2598bbdb5102b286f380135d9a5bcd96a77cbb8"),
    ("003_river_job_tags_non_null.up.sql", "dedb183bb302c005bc72caf2901ff693bbab11413308c5e0567ddffb51e667ef"),
    ("004_pending_and_more.down.sql", "91b5ced7b9d707a0de73f5b312596935950b70229f58aa9bf3ca362aa7a408c8"),
    ("004_pending_and_more.up.sql", "3f7418b0cf78ede9a9ec730bdfc4389a84e05989531b205fc4ece0d2bb10e390"),
    ("005_migration_unique_client.down.sql", "de84dca49a5d618d2a4973b13a69830fbebb0f9635babfa50c6f19577193425b"),
    ("005_migration_unique_client.up.sql", "b760f487152c7d92102869d46b8a64dc1e2094d5675e690ffbe52a747eee8431"),
    ("006_bulk_unique.down.sql", "726483f6e5aa7dd02cdd974cd7bf716973a8d0a97ba6dbc5dc5304aaf54c7ad7"),
    ("006_bulk_unique.up.sql", "3b133f7ce4662d3dc8bd4a57628e0e116a300b2635a79315557aa1369849f0fb"),
    (
        "007_notification_outbox_sqlite_jsonb_and_sql_cleanup.down.sql",
        "2771765becc5baa0a8af4406cb4d58ea6d3fb0ebdbf72a0c23ccc72da623caeb",
    ),
    (
        "007_notification_outbox_sqlite_jsonb_and_sql_cleanup.up.sql",
        "af01339fcb1687de1f768a570b6ad1e51d23300082aed60440f6a662a0e39d85",
    ),
    ("008_job_id_autoincrement.down.sql", "678b3b02deb2f798c3fda3a73c974fc1fe48c6b88688b94f0f7700132b30626f"),
    ("008_job_id_autoincrement.up.sql", "678b3b02deb2f798c3fda3a73c974fc1fe48c6b88688b94f0f7700132b30626f"),
]


@pytest.fixture(scope="module")
def folder() -> Path:
    command = [find_go(), "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", "github.com/riverqueue/river/riverdriver/riverpgxv5"]
    found = subprocess.run(command, cwd=SOURCE, check=True, capture_output=True, text=True, timeout=120)
    return Path(found.stdout.strip()) / "migration" / "main"


@pytest.mark.parametrize(("name", "digest"), MIGRATIONS, ids=[name for name, _ in MIGRATIONS])
def test_a_migration_is_unchanged(folder: Path, name: str, digest: str) -> None:
    assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


def test_there_are_no_others(folder: Path) -> None:
    assert sorted(path.name for path in folder.glob("*.sql")) == [name for name, _ in MIGRATIONS]
