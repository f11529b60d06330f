"""Requests to a provider: where they go, what they say, how they are repaired."""
