"""The embedded server of laptops and tests, and the folder of its data."""
