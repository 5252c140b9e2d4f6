"""The command line: `__main__` has the commands, each other module one of them."""
