"""The README's picture: scikit-image's photographs, explained by SqueezeNet 1.0.

    python docs/pictures.py WEIGHTS        writes docs/images/photographs.png

WEIGHTS is a state dict of ImageNet-trained torchvision SqueezeNet 1.0, or IMAGENET1K_V1 to
download torchvision's own.
"""

import sys
from pathlib import Path

from xaiutils import plots
from xaiutils.hybrid import explain
from xaiutils.methods import METHODS
from xaiutils.network.classifier import load_model
from xaiutils.pictures.images import sample_photograph

NAMES = ("chelsea", "rocket")
COLUMNS = ("picture", "Grad-CAM++", "bounding\nfigure", "LRP", "product", "hybrid", "noise for LRP")


def main(weights: str) -> None:
    """Explain the predicted class of each photograph and draw a row for each, with a control."""
    classifier = load_model("squeezenet1_0", weights)
    photographs = [sample_photograph(name) for name in NAMES]
    x = classifier.preprocess(photographs)
    found = explain(classifier, x)
    control = METHODS["bounded_noise"](classifier, x, found.target)
    rows, titles = [], []
    for i, photograph in enumerate(photographs):
        picture = classifier.picture(photograph)
        maps = (found.relevance[i], found.product[i], found.hybrid[i], control[i])
        fine = [plots.Panel(map=m, clip=99.5, signed=True) for m in maps]
        rows.append([picture, found.cam[i], found.bounded[i], *fine])
        target = int(found.target[i])
        titles.append(f"{classifier.classes[target]} ({found.logits.softmax(1)[i, target]:.0%})")
    figure = plots.gallery(rows, COLUMNS, row_titles=titles, width=1.13)
    plots.save(figure, Path(__file__).parent / "images" / "photographs.png")
    print(classifier.weights)


if __name__ == "__main__":
    main(sys.argv[1])
