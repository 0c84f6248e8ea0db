"""`/settings`: what a server's admins decide."""
