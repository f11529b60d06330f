"""Waiting for the end of a job."""
