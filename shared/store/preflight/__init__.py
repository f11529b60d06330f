"""Checks, before anything else is asked of a Redis, that it can do all a service needs."""
