"""The tables and the thumbnails of the README: `python docs/front.py` writes them anew.

The notebooks' table is that of notebooks/README.md with a thumbnail of one figure of each; the
table of networks sums docs/models.md up. A test compares both with what stands in the README.
"""

import base64
import io
import json
import re
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
THUMBS = Path(__file__).parent / "images" / "thumbs"
WIDTH, HEIGHT = 220, 124  # pixels, at most
CHOSEN = {  # the figure of each notebook that says most in small, counted from 1
    "00": 1,
    "01": 4,
    "02": 4,
    "03": 2,
    "04": 3,
    "05": 2,
    "06": 2,
    "07": 2,
    "08": 3,
    "09": 2,
    "10": 4,
    "11": 3,
    "12": 4,
    "13": 2,
    "14": 1,
    "15": 1,
    "16": 1,
}
FAMILIES = {  # torchvision's names, by how they begin
    "VGG, with and without batch norm": "vgg",
    "AlexNet": "alexnet",
    "SqueezeNet": "squeezenet",
    "ResNet, ResNeXt, Wide ResNet": "resnet|resnext|wide_resnet",
    "GoogLeNet, Inception v3": "googlenet|inception",
    "DenseNet": "densenet",
    "MobileNet, MNASNet, ShuffleNet": "mobilenet|mnasnet|shufflenet",
    "EfficientNet, RegNet": "efficientnet|regnet",
    "ConvNeXt": "convnext",
    "MaxViT": "maxvit",
    "ViT": "vit",
    "Swin": "swin",
}
ROW = re.compile(r"^\| \d+ \| \[(.+?)\]\((\d\d)(_\w+\.ipynb)\) \| (.+?) \| .+ \|$", re.MULTILINE)


def figures(path: Path) -> list[bytes]:
    """The PNG outputs of an executed notebook, in order."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    found = [o["data"] for cell in cells for o in cell.get("outputs", ()) if "data" in o]
    return [base64.b64decode(data["image/png"]) for data in found if "image/png" in data]


def thumbnail(picture: bytes) -> Image.Image:
    """A figure at the thumbnails' width, its lower end cut where it is too high."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    small = image.resize((WIDTH, round(image.height * WIDTH / image.width)), Image.LANCZOS)
    return small.crop((0, 0, WIDTH, min(small.height, HEIGHT)))


def notebooks() -> list[str]:
    """The table of notebooks: a picture, the title, what it shows."""
    contents = (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8")
    lines = ["| | notebook | what it shows |", "|---|---|---|"]
    for title, number, rest, shows in ROW.findall(contents):
        link = f"notebooks/{number}{rest}"
        picture = f"[![{title}](docs/images/thumbs/{number}.png)]({link})"
        lines.append(f"| {picture} | {number} [{title}]({link}) | {shows} |")
    return lines


def models() -> list[str]:
    """The support matrix: for each family, whether CAM and relevance can be had."""
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    table = page.partition("## torchvision")[2].partition("\n## ")[0] or page
    rows = re.findall(r"^\| (\w+) \| `(.+?)` \| (.+?) \| (yes|no).*\|$", table, re.MULTILINE)
    lines = [
        "| torchvision's | networks | the CAM reads | CAM | LRP and hybrid |",
        "|---|---|---|---|---|",
    ]
    for family, start in FAMILIES.items():
        own = [row for row in rows if re.match(start, row[0])]
        places = " or ".join(sorted({re.split(r" \(| of |,|;| before", row[2])[0] for row in own}))
        answers = {row[3] for row in own}
        relevance = "yes" if answers == {"yes"} else "refused, with the reason"
        lines.append(f"| {family} | {len(own)} | {places} | yes | {relevance} |")
    yours = "the last feature map that everything flows through, or yours"
    how = "where PyTorch captures it and each operation has a rule; else refused by name"
    lines.append(f"| your own CNN: [recipe](docs/your-own.md) | | {yours} | yes | {how} |")
    return lines


def filled(text: str) -> str:
    """The README with its generated tables."""
    for name, lines in (("notebooks", notebooks()), ("models", models())):
        block = f"<!-- {name} -->\n" + "\n".join(lines) + "\n"
        text = re.sub(rf"<!-- {name} -->\n(?:\|.*\n)*", lambda _, new=block: new, text)
    return text


def main() -> None:
    """Write the thumbnails and the tables."""
    THUMBS.mkdir(parents=True, exist_ok=True)
    for number, count in CHOSEN.items():
        (path,) = (ROOT / "notebooks").glob(f"{number}_*.ipynb")
        thumbnail(figures(path)[count - 1]).save(THUMBS / f"{number}.png", optimize=True)
    readme = ROOT / "README.md"
    readme.write_text(filled(readme.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
