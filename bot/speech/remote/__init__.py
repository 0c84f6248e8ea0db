"""What the backends on other machines share: how many calls run, and when none is tried."""
