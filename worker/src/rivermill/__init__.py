"""Rivermill: a full River worker in Python, on River's own Postgres schema."""

__version__ = "0.1.0"
