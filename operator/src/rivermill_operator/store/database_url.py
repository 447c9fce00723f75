"""What is wrong with a database URL, said without its password.

The worker and the operator share no code, so each has this file; a test holds the two alike.
"""

from __future__ import annotations

import getpass
import os
import re
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, urlsplit

import asyncpg

UNREADABLE = (
    "the database URL cannot be read (it is not shown, since it may hold a password): use "
    "postgresql://user:password@host:port/name, with %2F for /, %23 for #, %3F for ? and %40 for @ in user and password"
)
#: What the driver knows, the first being what it takes by itself (of the second its message would not say so).
_CHOICES = {
    "sslmode": ("prefer", "disable", "allow", "require", "verify-ca", "verify-full"),
    "target_session_attrs": ("any", "primary", "standby", "read-write", "read-only", "prefer-standby"),
}
_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
#: What else may name the user.
_LOGINS, _LOGIN_VARIABLES = {"user", "service"}, {"PGUSER", "PGSERVICE"}
_HOST = r"(?:\[[\w.:%-]*\]|[\w.%~-]*)(?::[0-9]*)?"
_HOSTS = re.compile(f"{_HOST}(?:,{_HOST})*")
_WITH_PORT = re.compile(r"[^:]+:[^:]+")
_SCHEMES = ("postgresql", "postgres")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9.+-]{0,30}")
#: SQLSTATEs of a server that knows no such setting, or not this value of it, or lets nobody set it.
_REFUSED = frozenset({"42704", "22023", "55P02"})


class UrlError(ValueError):
    """The URL is wrong; the message holds no password, names what is wrong and says what helps."""


def read(url: str) -> SplitResult:
    """The parts of a URL, none of which but the login and the query can hold its password.

    Raises:
        UrlError: it is no URL, or may have a password that is not percent-encoded; the message holds nothing of it.
    """
    scheme, separator, _ = url.partition("://")
    if separator and _SCHEME.fullmatch(scheme) and scheme.lower() not in _SCHEMES:
        driver = f", without the driver +{scheme.partition('+')[2]}" if "+" in scheme else ""
        raise UrlError(f"the database URL begins with {scheme}://: use postgresql://{driver}")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise UrlError(UNREADABLE) from None
    login, _, hosts = parts.netloc.rpartition("@")
    in_query = "@" in parts.query and not login and not {"user", "password"} & parse_qs(parts.query).keys()
    # An @ elsewhere than behind the login, or a #, means that the login was cut short by a character of its password.
    misplaced = in_query or "@" in login + parts.path or "#" in url
    if parts.scheme in _SCHEMES and login and not misplaced and not _HOSTS.fullmatch(hosts) and _WITH_PORT.fullmatch(hosts):
        raise UrlError(f"{UNREADABLE}; a port must be a number")
    if parts.scheme not in _SCHEMES or misplaced or not _HOSTS.fullmatch(hosts):
        raise UrlError(UNREADABLE)
    return parts


def place(url: str) -> str:
    """Where a URL leads, e.g. ``db:5432/library``, without user and password; empty where it leaves that to the environment.

    Raises:
        UrlError: it cannot be read.
    """
    parts = read(url)
    hosts = parts.netloc.rpartition("@")[2]
    return f"{hosts}{parts.path}" if hosts else ""


def check(url: str) -> None:
    """Find what would be told badly by the driver.

    Raises:
        UrlError: the URL cannot be read, or what follows its ``?`` is wrong.
    """
    parts = read(url)
    query = parts.query
    try:
        values = parse_qs(query, strict_parsing=bool(query))
    except ValueError:
        raise UrlError(f"{_named(url)}: what follows the ? cannot be read: write name=value, with & between several") from None
    for name, choices in _CHOICES.items():
        value = values[name][-1] if name in values else choices[0]
        if value not in choices:
            raise UrlError(f"{_named(url)}: {name} {value!r}: use {', '.join(choices[:-1])} or {choices[-1]}")
    if not (parts.username or values.keys() & _LOGINS or os.environ.keys() & _LOGIN_VARIABLES or _has_name()):
        raise UrlError(f"{_named(url)}: there is no user in it: write postgresql://user:password@host:port/name")


def _has_name() -> bool:
    """Whether this process's user has a name, which the driver takes then; in a container it may have none."""
    try:
        return bool(getpass.getuser())
    except (OSError, KeyError, ImportError):  # as the version of Python has it
        return False


def blamed(error: BaseException, url: str) -> str | None:
    """What an error that ended connecting says of a URL that was checked; None where it is about something else."""
    text = (str(error) or type(error).__name__).splitlines()[0]
    if isinstance(error, asyncpg.PostgresError):
        refused = error.sqlstate in _REFUSED
        return f"{_named(url)}: the server says {text}; correct or remove it behind the ?" if refused else None
    if isinstance(error, OSError):
        return _missing_file(error, url)
    if isinstance(error, asyncpg.ClientConfigurationError):
        return f"{_named(url)}: {text}; correct the URL"
    # The text of other such errors quotes what could not be read, which may be a part of a password.
    return UNREADABLE if isinstance(error, ValueError) else None


def _missing_file(error: OSError, url: str) -> str | None:
    """The driver does not say which file it misses; a socket may be missing as well."""
    if not isinstance(error, FileNotFoundError | PermissionError):
        return None
    values = parse_qs(read(url).query)
    files = [(name, values[name][-1]) for name in _FILES if name in values]
    for name, file in files:
        if not Path(file).is_file():
            return f"{_named(url)}: {name} {file!r}: there is no such file here; mount it, or correct the path"
    return None


def _named(url: str) -> str:
    where = place(url)
    return f"the database URL of {where}" if where else "the database URL"
