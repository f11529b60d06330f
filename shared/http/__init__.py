"""What every service's HTTP side shares: problem documents, identities, ops routes and the server itself."""
