"""A real Kubernetes and a real Postgres on this computer, for the demo and the end-to-end tests."""

from devcluster import tools
from devcluster.cluster import Cluster, prepare
from devcluster.errors import DevclusterError
from devcluster.postgres import Postgres
from devcluster.surroundings import check as check_surroundings

__all__ = ["Cluster", "DevclusterError", "Postgres", "check_surroundings", "prepare", "tools"]
