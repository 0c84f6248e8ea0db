"""The migrations bring a database to the current schema. `bot.storage.database` runs them."""
