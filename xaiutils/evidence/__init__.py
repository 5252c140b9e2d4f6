"""From experiments to tables, claims and verdicts; `study` scores large sets in parts.

It imports everything but `apps`. Start with `experiments` (what is measured) and `tables` (how a
table is made); `runner` does the work of both. `claims` judges sentences by tables, `claims_page`
writes docs/claims.md, `figures` executes the notebooks.
"""
