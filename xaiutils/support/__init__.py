"""What every room needs: checks of arguments, files, caches, how often a network is asked, chance.

It imports nothing else of the package. Start with `checks` (every message about bad input) and
`asking` (counting, cancelling and bounding the calls of a network).
"""
