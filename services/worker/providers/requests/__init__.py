"""Requests to a provider: their address, their content, their repair."""
