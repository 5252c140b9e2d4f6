"""Step 3, layer-wise relevance propagation: rules, composites, the walk back, the ledger.

It imports `network` and what is below it. Start with `rules` (one function a rule; a new one goes
there) and `composites` (which rule a layer gets, first match wins). `plan` chooses the rules for a
network, `walk` goes back through a recorded pass, `unweighted` has what relevance does at layers
without weights, `ledger` accounts for where the start went.
"""
