"""A real Kubernetes and a real Postgres on this computer, for the demo and the end-to-end tests."""

from devcluster.errors import DevclusterError
from devcluster.postgres import Postgres

__all__ = ["DevclusterError", "Postgres"]
