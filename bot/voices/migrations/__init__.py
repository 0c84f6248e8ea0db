"""The migrations, which bring a database to the present shape; `bot.voices.database` runs them."""
