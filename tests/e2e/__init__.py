"""The whole system, from the outside."""
