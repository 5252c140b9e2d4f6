"""A picture, the class asked for, and where its object is; and sets of them, workloads.

It imports `network`, `pictures` and `support`. Start with `workloads` (scenes, photographs,
ImageNet, yours); `questions` are the figures' pairs of picture and class, `case` is what metrics
score.
"""
