"""The README's code and commands run, and its links lead somewhere."""

import re
import subprocess
from pathlib import Path

import nbformat
import torch
import torchvision

import xaiutils as xai
from xaiutils.apps.cli import __main__ as cli

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_code_blocks_run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) == 3
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = torch.nn.Sequential(
            torch.nn.Conv2d(1, 4, 3),
            torch.nn.ReLU(),
            torch.nn.Flatten(),
            torch.nn.Linear(4 * 94 * 158, 2),
        )
    names = {"network": network}
    for block in blocks:
        exec(block, names)  # the README is ours
    printed = capsys.readouterr().out
    assert "unreceived" in printed
    assert "last activated feature map (94 x 158)" in printed
    assert names["maps"].shape == (1, 224, 224)
    assert "oracle_mask" in printed


def commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    inline = re.findall(r"`((?:make |\.venv/bin/)[^`]+)`", README)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.partition("#")[0].strip() for line in (*lines, *inline) if line.strip()]


def test_every_make_command_is_a_target_that_make_can_follow():
    asked = [command.split() for command in commands() if command.startswith("make ")]
    assert {"demo", "test", "app", "site", "evidence"} <= {words[-1] for words in asked}
    for words in asked:  # a dry run; `make test` is what runs this
        done = subprocess.run(
            ["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def small_imagenet(root: Path) -> None:
    """Two classes of one picture each, in ImageNet's own folders."""
    for number, wnid in enumerate(("n01440764", "n01443537")):
        folder = root / "ILSVRC" / "Data" / "CLS-LOC" / "val" / wnid
        folder.mkdir(parents=True)
        xai.sample_photograph("chelsea").image.rotate(90 * number).save(folder / f"{number}.JPEG")
    wnids = ["n01440764", "n01443537", *(f"n9{i:07}" for i in range(998))]
    names = "".join(f"{wnid} a name\n" for wnid in wnids)
    (root / "LOC_synset_mapping.txt").write_text(names, encoding="utf-8")


def test_the_other_commands_run(tmp_path, monkeypatch, capsys):
    """As they stand, but for what is not here: ImageNet, VGG-16's weights, the notebooks' hour."""
    root, weights, books = (tmp_path / name for name in ("imagenet", "some.pth", "notebooks"))
    small_imagenet(root)
    torch.save(torchvision.models.squeezenet1_0(num_classes=1000).state_dict(), weights)
    books.mkdir()
    book = nbformat.v4.new_notebook()
    source = "from xaiutils import plots\nimport torch\nplots.heatmap(torch.eye(4))"
    book.cells.append(nbformat.v4.new_code_cell(source))
    nbformat.write(book, books / "01_one.ipynb")
    monkeypatch.chdir(tmp_path)
    asked = [command for command in commands() if command.startswith(".venv/bin/")]
    assert {command.split()[1] for command in asked} == {"explain", "figures"}
    for command in asked:
        assert command.startswith(".venv/bin/xaiutils ")
        words = command.replace("/data/imagenet", str(root)).split()[1:]
        if words[0] == "figures":
            words = ["squeezenet1_0" if word == "vgg16" else word for word in words]
            words += ["--weights", str(weights), "--notebooks", str(books)]
        assert cli.main(words) == 0, capsys.readouterr().err
    made = [str(path.relative_to(tmp_path)) for path in tmp_path.glob("results/*/*.*")]
    for name in ("explained/chelsea.png", "explained/chelsea_lime.npz", "figures/01_one_1.png"):
        assert f"results/{name}" in made


def test_relative_links_exist():
    prose = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
    links = re.findall(r"\]\(([^)#]+)\)", prose)
    missing = [link for link in links if "://" not in link and not (ROOT / link).exists()]
    assert len(links) > 10
    assert missing == []
