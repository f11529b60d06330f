"""One claimed job: its attempt, its calls of providers, its end."""
