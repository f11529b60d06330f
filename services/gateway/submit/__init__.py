"""Jobs in: bodies, their checks, admission."""
