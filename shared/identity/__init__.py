"""Callers: the keys, tokens and tickets of requests become identities."""
