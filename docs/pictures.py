"""The README's picture: two photographs, explained by SqueezeNet 1.1 with its package's weights.

python docs/pictures.py        writes docs/images/photographs.png
"""

from pathlib import Path

from xaiutils import plots
from xaiutils.hybrid import explain
from xaiutils.methods import METHODS
from xaiutils.network.classifier import load_model
from xaiutils.pictures.images import sample_photograph

ROWS = (("camera", "tripod"), ("camera", "trombone"), ("coffee", "espresso"))
COLUMNS = ("picture", "Grad-CAM++", "bounding\nfigure", "LRP", "product", "hybrid", "noise for LRP")


def main() -> None:
    """Explain a class of each photograph and draw a row for each, with a control."""
    classifier = load_model()
    photographs = [sample_photograph(name) for name, _ in ROWS]
    x = classifier.preprocess(photographs)
    found = explain(classifier, x, [kind for _, kind in ROWS])
    control = METHODS["bounded_noise"](classifier, x, found.target)
    probabilities = classifier.probabilities(found.logits)
    rows, titles = [], []
    for i, (photograph, (_, kind)) in enumerate(zip(photographs, ROWS, strict=True)):
        maps = (found.relevance[i], found.product[i], found.hybrid[i], control[i])
        fine = [plots.Panel(map=m, clip=99.5, signed=True) for m in maps]
        rows.append([classifier.picture(photograph), found.cam[i], found.bounded[i], *fine])
        titles.append(f"{kind} ({probabilities[i, int(found.target[i])]:.0%})")
    figure = plots.gallery(rows, COLUMNS, row_titles=titles, width=1.13)
    plots.save(figure, Path(__file__).parent / "images" / "photographs.png")
    print(classifier.weights)


if __name__ == "__main__":
    main()
