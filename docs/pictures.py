"""The README's picture: scikit-image's photographs, explained by SqueezeNet 1.0.

    python docs/pictures.py WEIGHTS        writes docs/images/photographs.png

WEIGHTS is a state dict of ImageNet-trained torchvision SqueezeNet 1.0, or IMAGENET1K_V1 to
download torchvision's own.
"""

import sys
from pathlib import Path

from xaiutils import plots
from xaiutils.hybrid import explain
from xaiutils.images import sample_photograph
from xaiutils.models import load_model

NAMES = ("chelsea", "coffee", "rocket", "motorcycle")


def main(weights: str) -> None:
    """Explain the predicted class of each photograph and draw a row for each."""
    classifier = load_model("squeezenet1_0", weights)
    photographs = [sample_photograph(name) for name in NAMES]
    found = explain(classifier, classifier.preprocess(photographs))
    rows, titles = [], []
    for i, photograph in enumerate(photographs):
        picture = classifier.picture(photograph)
        maps = (found.cam, found.bounded, found.relevance, found.hybrid)
        clips = (None, None, 99.5, 99.5)
        rows.append(
            [picture, *(plots.Panel(map=m[i], clip=c) for m, c in zip(maps, clips, strict=True))]
        )
        target = int(found.target[i])
        titles.append(f"{classifier.classes[target]} ({found.logits.softmax(1)[i, target]:.0%})")
    columns = ("image", "Grad-CAM++", "bounding figure", "LRP", "hybrid")
    figure = plots.gallery(rows, columns, row_titles=titles)
    plots.save(figure, Path(__file__).parent / "images" / "photographs.png")
    print(classifier.weights)


if __name__ == "__main__":
    main(sys.argv[1])
