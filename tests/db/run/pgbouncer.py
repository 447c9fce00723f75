"""A PgBouncer that lends servers by the transaction, in front of a test's Postgres."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.programs import installed

_NOBODY = "nobody"


@contextmanager
def pgbouncer(directory: Path, dsn: str) -> Iterator[str]:
    """Start one; yields its URL."""
    program = installed("pgbouncer")
    target = urlsplit(dsn)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config, log = directory / "pgbouncer.ini", directory / "pgbouncer.log"
    database = target.path.removeprefix("/")
    config.write_text(
        "[databases]\n"
        f"{database} = host={target.hostname} port={target.port or 5432} dbname={database} "
        f"user={target.username} password='{unquote(target.password or '')}'\n"
        "[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        "auth_type = any\npool_mode = transaction\ndefault_pool_size = 3\nmax_client_conn = 200\n",
        encoding="utf-8",
    )
    command = [program, str(config)]
    if os.geteuid() == 0:
        _let_in(directory)
        command[1:1] = ["-u", _NOBODY]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        _wait(port, process, log)
        yield f"postgresql://{target.username}@127.0.0.1:{port}/{database}"
    finally:
        process.terminate()
        process.wait(10)


def _let_in(directory: Path) -> None:
    os.chown(directory / "pgbouncer.ini", pwd.getpwnam(_NOBODY).pw_uid, -1)
    for parent in (directory, *directory.parents):
        if parent.stat().st_uid == 0 and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        else:
            return
