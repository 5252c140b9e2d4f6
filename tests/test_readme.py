"""The README's Python runs as it stands, and its links lead somewhere."""

import re
from pathlib import Path

import pandas as pd
import torch

from xaiutils import results
from xaiutils.score_table import summarise

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_code_blocks_run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) == 4
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
    assert "grad_cam_plus_plus x deep_lift" in printed
    assert "last activated feature map (94 x 158)" in printed


def test_relative_links_exist():
    prose = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
    links = re.findall(r"\]\(([^)#]+)\)", prose)
    missing = [link for link in links if "://" not in link and not (ROOT / link).exists()]
    assert len(links) > 10
    assert missing == []


def test_every_make_target_it_names_exists():
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", README, flags=re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert {"demo", "test"} <= named
    assert all(re.search(rf"^{name}:", makefile, flags=re.MULTILINE) for name in named)


TABLE = re.compile(r"<!-- (results/\w+) -->\n\|[^\n]+\n\|[-|]+\n((?:\|[^\n]+\n)+)")
TITLES = {"Grad-CAM++": "grad_cam_plus_plus", "LRP": "lrp_paper", "hybrid": "hybrid"} | {
    "LRP, smoothed alone": "lrp_smoothed",
    "bounding figure × noise": "bounded_noise",
    "bounding figure × edges": "bounded_edges",
    "centre prior": "centre_prior",
    "random": "random_map",
}
SCORES = ("avg_sensitivity", "faithfulness_correlation", "relevance_rank_accuracy")
SCORES += ("relevance_mass", "sparseness", "random_logit")


def test_the_numbers_in_its_tables_are_those_of_the_stored_tables():
    found = TABLE.findall(README)
    assert [folder for folder, _ in found] == ["results/imagenet_squeezenet1_0", "results/scenes"]
    for folder, lines in found:
        tables = [
            results._read(ROOT / folder / f"{n}.parquet") for n in ("table_one", "localisation")
        ]
        rows = [t[t["method"].isin(TITLES.values()) & t["metric"].isin(SCORES)] for t in tables]
        means = pd.concat([summarise(some) for some in rows])
        rows = [
            [cell.strip() for cell in line.strip("|").split("|")] for line in lines.splitlines()
        ]
        assert [row[0] for row in rows] == list(TITLES)
        for title, *cells in rows:
            for score, cell in zip(SCORES, cells, strict=True):
                kept = means[(means["method"] == TITLES[title]) & (means["metric"] == score)]
                if folder.endswith("scenes"):
                    true = {kept["mean"].min(), kept["mean"].max()}
                else:
                    true = {kept[name].item() for name in ("mean", "low", "high")}
                told = {float(number) for number in re.findall(r"-?\d*\.\d+", cell)}
                assert told == {abs(round(v, 3)) if abs(v) < 5e-4 else round(v, 3) for v in true}
