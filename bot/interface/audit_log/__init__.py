"""A server's log, as it is read and posted."""
