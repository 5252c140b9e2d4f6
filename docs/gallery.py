"""The pictures and the table of docs/gallery.md: scikit-image's photographs, explained.

    XAIUTILS_MODEL=squeezenet1_0 XAIUTILS_WEIGHTS=WEIGHTS.pth python docs/gallery.py [FOLDER]

The model is any torchvision classifier with ImageNet's classes. WEIGHTS.pth is a state dict of it;
without XAIUTILS_WEIGHTS torchvision downloads its own. The pictures go to FOLDER, by default
docs/images; the table is printed.
"""

import sys
from pathlib import Path

import torch

from xaiutils import plots
from xaiutils.cases.workloads import Workload, load_workload
from xaiutils.hybrid import explain

UNSURE = 0.5  # below this probability the two likeliest classes are explained


def draw(work: Workload, asked: list[tuple[int, int]]) -> plots.Figure:
    """A row for each (photograph, class): picture, Grad-CAM++, LRP, hybrid."""
    samples, x = work.batch([i for i, _ in asked])
    found = explain(work.classifier, x, torch.tensor([k for _, k in asked]))
    probability = found.logits.softmax(1)
    rows, titles = [], []
    for j, (sample, (_, k)) in enumerate(zip(samples, asked, strict=True)):
        maps = found.relevance[j], found.hybrid[j]
        fine = [plots.Panel(map=m, clip=99.5, signed=True) for m in maps]
        rows.append([work.picture(sample), found.cam[j], *fine])
        name = work.classifier.classes[k]
        titles.append(f"{sample.id}: {name}, p = {probability[j, k]:.2f}")
    return plots.gallery(rows, row_titles=titles, width=0.98)


def main(folder: Path) -> None:
    """Draw the photographs for their likeliest class, the unsure ones for the two likeliest."""
    work = load_workload("photographs")
    samples, x = work.batch(range(len(work.samples)))
    logits = work.classifier.predict(x)
    likely = logits.softmax(1).topk(3)
    best = [(i, int(k)) for i, k in enumerate(likely.indices[:, 0])]
    unsure = (likely.values[:, 0] < UNSURE).nonzero()[:, 0].tolist()
    pictures = {
        "gallery_1.png": best[:4],
        "gallery_2.png": best[4:],
        "gallery_unsure.png": [(i, int(k)) for i in unsure for k in likely.indices[i, :2]],
    }
    for name, asked in pictures.items():
        plots.save(draw(work, asked), folder / name)
    print(f"{work.classifier.name}, {work.classifier.weights}\n")
    print("| photograph | first | second | third |\n|---|---|---|---|")
    for sample, row in zip(samples, work.classifier.top(x, 3), strict=True):
        print(f"| {sample.id} | " + " | ".join(f"{name} {p:.2f}" for name, p in row) + " |")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images")
