"""The client for Python and its command line."""
