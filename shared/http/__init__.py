"""The HTTP side that all services share: problem documents, identities, hosts and origins, ops routes."""
