"""The adapters against stand-ins on real sockets, and what is pure about them."""
