"""The suite: real server, real HTTP, real processes."""
