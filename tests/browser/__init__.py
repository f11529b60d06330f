"""The example front end in a real browser."""
