"""Schema migrations: River's line ``main`` and our own line ``rivermill``.

River records a version per row of ``river_migration`` and never looks at the tables, so what is recorded here, and in
which form (without a line before version 5), decides whether ``river validate`` of any release passes.
Mirrors ``rivermigrate/river_migrate.go``.
"""

from rivermill.migrations.migrator import (
    LINES,
    Applied,
    Direction,
    Migration,
    Migrator,
    load,
)

__all__ = ["LINES", "Applied", "Direction", "Migration", "Migrator", "load"]
