"""Every sentence that the bot says, by what it is about."""
