"""Benchmarks of Presswork, beside other queues where there is something to compare.

`python -m bench [name...]` prints a table per benchmark and appends one JSON line to bench/results/<name>.json.
"""
