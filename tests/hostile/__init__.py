"""Hostile requests against a real gateway, while a neighbour submits."""
