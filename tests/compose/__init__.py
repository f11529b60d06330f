"""The Compose file run for real on a Docker engine."""
