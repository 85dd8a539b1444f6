"""The runtime of Python: in a package, so that no module of a function has the name of one of its own."""
