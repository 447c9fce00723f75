"""A real Kubernetes and a real Postgres on this computer, for the demo and the end-to-end tests."""

from devcluster import tools
from devcluster.access import AnyCluster
from devcluster.cluster import Cluster, prepare
from devcluster.current import CurrentCluster
from devcluster.debian import prepare as prepare_packages
from devcluster.errors import DevclusterError
from devcluster.postgres import Postgres, temporary_postgres
from devcluster.steps import together
from devcluster.surroundings import check as check_surroundings

__all__ = [
    "AnyCluster",
    "Cluster",
    "CurrentCluster",
    "DevclusterError",
    "Postgres",
    "check_surroundings",
    "prepare",
    "prepare_packages",
    "temporary_postgres",
    "together",
    "tools",
]
