"""The engine: the only package that talks to Redis."""
