"""Notifications: one pub/sub connection per process, or polling where there is none."""
