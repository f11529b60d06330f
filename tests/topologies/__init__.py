"""Redis Cluster and Sentinel: real servers, real fail-overs."""
