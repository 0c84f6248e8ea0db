"""The migrations, which bring a database to the current schema; `bot.voices.database` runs them."""
