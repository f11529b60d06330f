"""Clients: those that generators make of the OpenAPI document, and those in `clients/`, before the real services."""
