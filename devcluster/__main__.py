"""``python -m devcluster prepare|up|down|status|kubeconfig|build|load``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from devcluster import tools
from devcluster.cluster import Cluster, prepare
from devcluster.errors import DevclusterError
from devcluster.layout import DEFAULT_NAME
from devcluster.progress import say


def main() -> int:
    """Run one command; 0 is success, 1 a failure that was explained, 2 a wrong command line."""
    parser = argparse.ArgumentParser(prog="python -m devcluster", description="A real Kubernetes on this computer.")
    parser.add_argument("--name", default=DEFAULT_NAME, help="clusters of different names run side by side")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("prepare", help="install, build and fetch what a cluster needs")
    up = commands.add_parser("up", help="start the cluster")
    up.add_argument("--nodes", type=int, default=1, help="how many nodes at least; a running cluster gets those it lacks")
    commands.add_parser("down", help="stop it and remove all it made")
    commands.add_parser("status", help="exit 0 if it runs")
    commands.add_parser("kubeconfig", help="print the path of the administrator's kubeconfig")
    build = commands.add_parser("build", help="build an image")
    build.add_argument("--file", type=Path, required=True, help="the Dockerfile")
    build.add_argument("--tag", required=True)
    build.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    build.add_argument("context", type=Path, nargs="?", default=Path())
    load = commands.add_parser("load", help="import built images into every node")
    load.add_argument("image", nargs="+")
    options = parser.parse_args()
    try:
        return _run(options, Cluster(options.name))
    except (DevclusterError, OSError) as error:
        sys.stderr.write(f"devcluster: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("devcluster: interrupted; `python -m devcluster down` removes what was started\n")
        return 130


def _run(options: argparse.Namespace, cluster: Cluster) -> int:
    if options.command == "prepare":
        prepare()
    elif options.command == "up":
        if cluster.running():
            say(f"cluster {options.name} is up already")
        cluster.up(options.nodes)
        print(f"export KUBECONFIG={cluster.kubeconfig} PATH={tools.kubectl().parent}:$PATH")
    elif options.command == "down":
        cluster.down()
    elif options.command == "status":
        running = cluster.running()
        print("running" if running else "not running")
        return 0 if running else 1
    elif options.command == "kubeconfig":
        print(cluster.kubeconfig)
    elif options.command == "build":
        cluster.build(options.tag, options.file, options.context, tuple(options.build_arg))
    else:
        cluster.load(*options.image)
    return 0


if __name__ == "__main__":
    sys.exit(main())
