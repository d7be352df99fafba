"""Seconds and bytes as they are measured: the one place where an audit holds a clock."""
