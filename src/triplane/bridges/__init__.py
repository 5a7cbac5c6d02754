"""What stands between this package and somebody else's: cassettes of a real endpoint."""
