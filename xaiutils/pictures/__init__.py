"""Pictures in, tensors out: files and arrays, boxes, ImageNet, generated scenes.

It imports `support` alone. Start with `images` (what a picture and its preprocessing are); `decode`
reads files, `transforms` reads other libraries' preprocessing, `imagenet` an ILSVRC copy, `scenes`
draws pictures of which everything is known.
"""
