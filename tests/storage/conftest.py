from tests.support.databases import (
    clock,
    database_url,
    empty_database_url,
    empty_postgres_url,
    postgres_url,
    sqlite_url,
)

__all__ = [
    "clock",
    "database_url",
    "empty_database_url",
    "empty_postgres_url",
    "postgres_url",
    "sqlite_url",
]
