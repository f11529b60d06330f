"""The command line. Its packages, cyclopts and rich, come with the extra `cli`."""
