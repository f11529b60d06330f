"""Benchmarks beside other queues."""
