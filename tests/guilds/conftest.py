from tests.support.databases import clock, database_url, postgres_url, sqlite_url

__all__ = ["clock", "database_url", "postgres_url", "sqlite_url"]
