"""A real Kubernetes and a real Postgres on this computer, for the demo and the end-to-end tests."""

from devcluster import tools
from devcluster.cluster import Cluster, check_surroundings, prepare
from devcluster.errors import DevclusterError
from devcluster.postgres import Postgres

__all__ = ["Cluster", "DevclusterError", "Postgres", "check_surroundings", "prepare", "tools"]
