"""The database: how it is opened, migrated, read and written. What is in it is the rooms' own."""
