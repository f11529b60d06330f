"""Open Responses' schema, for the tests alone. `refresh.py` makes the file from a package; NOTICE says whose it is."""
