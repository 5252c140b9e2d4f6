"""What people use without writing Python: the command line, the explorer, the user study.

Nothing imports it. Start with `cli/__main__` (every command), `explorer` (`explore`), or
`userstudy/design`.
"""
