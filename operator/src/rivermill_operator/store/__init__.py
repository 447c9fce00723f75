"""The Postgres side: a port and its implementation over asyncpg."""
