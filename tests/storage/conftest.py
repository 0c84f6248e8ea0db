from tests.support.databases import Clock, clock, database_url, postgres_url, sqlite_url

__all__ = ["Clock", "clock", "database_url", "postgres_url", "sqlite_url"]
