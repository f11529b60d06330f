"""Clients against real services."""
