"""What Postgres knows of a schema, as values that two schemas can be compared by."""

from __future__ import annotations

from typing import Any

from rivermill.db import Connection

Catalog = dict[str, list[tuple[Any, ...]]]

_QUERIES = {
    "relations": """
        SELECT c.relname, c.relkind, c.relpersistence, c.reloptions, a.amname FROM pg_class c
        LEFT JOIN pg_am a ON a.oid = c.relam WHERE c.relnamespace = $1::regnamespace ORDER BY c.relname""",
    "columns": """
        SELECT c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attstorage,
            a.attcompression, a.attidentity, a.attgenerated, a.attcollation, pg_get_expr(d.adbin, d.adrelid)
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE c.relnamespace = $1::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
        ORDER BY c.relname, a.attnum""",
    "indexes": """
        SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = $1::text ORDER BY tablename, indexname""",
    "constraints": """
        SELECT c.relname, n.conname, n.contype, pg_get_constraintdef(n.oid), n.convalidated FROM pg_constraint n
        JOIN pg_class c ON c.oid = n.conrelid WHERE n.connamespace = $1::regnamespace ORDER BY c.relname, n.conname""",
    "functions": """
        SELECT p.proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid), l.lanname, p.provolatile,
            p.proisstrict, p.proparallel, p.prosecdef, p.proleakproof, p.procost
        FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang WHERE p.pronamespace = $1::regnamespace ORDER BY p.proname""",
    "enums": """
        SELECT t.typname, array_agg(e.enumlabel::text ORDER BY e.enumsortorder) FROM pg_enum e
        JOIN pg_type t ON t.oid = e.enumtypid WHERE t.typnamespace = $1::regnamespace GROUP BY 1 ORDER BY 1""",
    "triggers": """
        SELECT c.relname, pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
        WHERE c.relnamespace = $1::regnamespace AND NOT t.tgisinternal ORDER BY 1, 2""",
    "sequences": """
        SELECT sequencename, data_type::text, start_value, min_value, max_value, increment_by, cycle, cache_size,
            d.refobjid::regclass::text,
            d.deptype
        FROM pg_sequences s JOIN pg_depend d ON d.deptype = 'a'
            AND d.objid = (quote_ident(s.schemaname) || '.' || quote_ident(s.sequencename))::regclass
        WHERE schemaname = $1::text ORDER BY 1""",
}


async def catalog(connection: Connection, schema: str) -> Catalog:
    """Relations, columns, indexes, constraints, functions, enums, triggers, sequences, and the recorded migrations."""
    result: Catalog = {}
    for name, sql in _QUERIES.items():
        result[name] = [_anonymous(row, schema) for row in await connection.fetch(sql, schema)]
    columns = [row[2] for row in result["columns"] if row[0] == "river_migration"]
    if columns:
        kept = ", ".join(column for column in ("line", "version") if column in columns)
        rows = await connection.fetch(f'SELECT {kept} FROM "{schema}".river_migration ORDER BY version')
        result["migrations"] = [tuple(row) for row in rows]
    return result


def _anonymous(row: Any, schema: str) -> tuple[Any, ...]:
    return tuple(v.replace(f'"{schema}"', "S").replace(schema, "S") if isinstance(v, str) else v for v in row)
