"""A release of every service, one replica after the other, while customers use it."""
