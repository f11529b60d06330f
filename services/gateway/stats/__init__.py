"""The queue's counts."""
