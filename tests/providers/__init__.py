"""The adapters against simulated servers on real sockets, and their pure parts."""
