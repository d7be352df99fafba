"""What passes cost: counted, timed and compared."""
