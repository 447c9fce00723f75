"""Decisions of the dev cluster, as tables."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import pytest

from devcluster.cgroups import Hierarchy, parse_mounts, to_enable
from devcluster.errors import DevclusterError
from devcluster.layout import MOST_NODES, layout, routes
from devcluster.surroundings import Surroundings, problem

GOOD = Surroundings("linux", 0, "/cache", "/state", 100.0, 100.0, False, (1, 26), (), True, True, ("/sys/fs/cgroup",))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"platform": "darwin"}, "needs Linux, this is darwin: run it on a Linux machine"),
        ({"uid": 1000}, "needs root, for namespaces and a bridge: run it with sudo"),
        ({"cache_gib": 7.9}, "/cache has 7.9 GiB free, 8 are needed: make room or set RIVERMILL_CACHE"),
        ({"cache_gib": 2.9, "built": True}, "/cache has 2.9 GiB free, 3 are needed"),
        ({"state_gib": 1.0}, "/state has 1.0 GiB free, 3 are needed: make room or set RIVERMILL_STATE"),
        ({"namespaces": False}, "lets nobody make namespaces"),
        ({"cgroups": ()}, "no cgroup hierarchy can be written"),
        ({"packages": ("runc",), "apt": False}, "install runc with this system's package manager"),
        ({"go": None}, "Go 1.26 or newer is needed, and there is none: install it"),
        ({"go": (1, 25)}, "Go 1.26 or newer is needed, and this one is 1.25: install it"),
    ],
)
def test_bad_surroundings_get_one_sentence(change: dict[str, object], says: str) -> None:
    sentence = problem(replace(GOOD, **change))  # type: ignore[arg-type]
    assert sentence is not None
    assert says in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize("change", [{}, {"built": True, "go": None, "cache_gib": 3.0}, {"packages": ("runc",)}])
def test_good_surroundings_get_none(change: dict[str, object]) -> None:
    assert problem(replace(GOOD, **change)) is None  # type: ignore[arg-type]


def test_nodes_share_nothing() -> None:
    nodes = [node for name in ("rivermill", "other") for node in layout(name).nodes(MOST_NODES)]
    for what in ("name", "veth", "address", "pod_network", "cgroup"):
        assert len({getattr(node, what) for node in nodes}) == len(nodes)
    assert all(len(node.veth) <= 15 for node in nodes)
    networks = [ipaddress.ip_network(text) for n in nodes for text in (n.pod_network,)]
    assert not any(a.overlaps(b) for i, a in enumerate(networks) for b in networks[:i])


def test_a_node_has_a_route_to_the_pods_of_each_other() -> None:
    first, second, third = layout("rivermill").nodes(3)
    assert routes(second, (first, second, third)) == (
        (first.pod_network, first.address),
        (third.pod_network, third.address),
    )


@pytest.mark.parametrize("count", [0, -1, MOST_NODES + 1])
def test_a_wrong_number_of_nodes_is_refused(count: int) -> None:
    with pytest.raises(DevclusterError, match=f"^{count} nodes cannot be made"):
        layout("rivermill").nodes(count)


@pytest.mark.parametrize("name", ["", "A", "a/b", "-a", "a-", "..", "a" * 41])
def test_a_wrong_name_is_refused(name: str) -> None:
    with pytest.raises(DevclusterError, match="is no name for a cluster"):
        layout(name)


def test_hierarchies_of_hybrid_and_of_version_2() -> None:
    hybrid = (
        "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n"
        "cgroup /sys/fs/cgroup/cpu cgroup rw,nosuid,relatime,cpu,cpuacct 0 0\n"
        "cgroup /sys/fs/cgroup/systemd cgroup rw,xattr,release_agent=/x,name=systemd 0 0\n"
        "cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0\n"
    )
    assert parse_mounts(hybrid) == (
        Hierarchy("/sys/fs/cgroup/cpu", "cgroup", "cpu,cpuacct"),
        Hierarchy("/sys/fs/cgroup/systemd", "cgroup", "none,name=systemd"),
        Hierarchy("/sys/fs/cgroup/unified", "cgroup2", "rw"),
    )
    pure = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec,relatime,nsdelegate,memory_recursiveprot 0 0\n"
    assert parse_mounts(pure) == (Hierarchy("/sys/fs/cgroup", "cgroup2", "rw"),)


@pytest.mark.parametrize(
    ("available", "enabled", "changes"),
    [
        ("", "", ()),
        ("cpuset cpu io memory hugetlb pids rdma misc", "cpu memory pids", ("+cpuset", "+io", "+hugetlb")),
        ("cpu memory pids", "cpu memory pids", ()),
    ],
)
def test_only_missing_controllers_are_enabled(available: str, enabled: str, changes: tuple[str, ...]) -> None:
    assert to_enable(available, enabled) == changes
