"""What tests share: recordings, and servers on loopback."""
