"""The one door: read, plan, apply, verify; and the slow reference."""
