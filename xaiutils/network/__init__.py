"""A classifier, and what it computes: a graph of steps that PyTorch captures.

It imports `support` and `pictures`. Start with `classifier` (`load_model`, `wrap`), then `kinds`,
the one table that says of every operation what it does. `capture` reads a network, `graph` runs
it, `cam_layer` chooses the layer whose activations a CAM reads and says why, `targets` are the
scores that can be explained, `hookable` is the copy that other libraries may hook.
"""
