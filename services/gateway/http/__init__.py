"""Bodies, query strings and responses, shared by the gateway's calls."""
