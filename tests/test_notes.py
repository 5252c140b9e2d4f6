"""What a map cannot show is said: notes on lost relevance, signs, zeros, and odd pictures."""

from __future__ import annotations

from functools import cache

import numpy as np
import PIL.Image
import pytest
import torch
from torch import Tensor, nn

from xaiutils import plots
from xaiutils.apps.cli import __main__ as cli
from xaiutils.apps.explorer import Subject, View, compute, explore
from xaiutils.apps.explorer.output import figure, notes
from xaiutils.apps.explorer.sources import pictures as of_explorer
from xaiutils.hybrid import explain, relevance
from xaiutils.lrp.composites import Composite, Row, paper
from xaiutils.lrp.rules import gamma, z
from xaiutils.methods import METHODS
from xaiutils.network.classifier import Classifier, load_model, wrap
from xaiutils.network.kinds import WEIGHTED
from xaiutils.pictures import scenes
from xaiutils.support import asking

SIDE = 16


def pictures(n: int = 2) -> Tensor:
    return torch.rand((n, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(2))


class Gate(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.down, self.up, self.act = nn.Conv2d(width, 4, 1), nn.Conv2d(4, width, 1), nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        squeezed = self.act(self.down(x.mean((2, 3), keepdim=True)))
        return x * torch.sigmoid(self.up(squeezed))


def inverted(act: type[nn.Module], gated: bool) -> nn.Sequential:
    """Inverted bottlenecks as in EfficientNet.

    Of each depthwise filter all weights have one sign, mostly negative, and the bias of the batch
    norm behind it lifts the sum: what is passed on has no positive contribution.
    """
    torch.manual_seed(0)
    parts: list[nn.Module] = [nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), act()]
    for _ in range(3):
        depthwise = nn.Conv2d(24, 24, 3, padding=1, groups=24, bias=False)
        sign = -torch.ones(24, 1, 1, 1)
        sign[::12] = 1
        depthwise.weight.data = depthwise.weight.data.abs() * sign
        lifted = nn.BatchNorm2d(24)
        nn.init.constant_(lifted.bias, 2)
        parts += [nn.Conv2d(8, 24, 1, bias=False), nn.BatchNorm2d(24), act(), depthwise, lifted]
        parts += [act(), *([Gate(24)] if gated else [])]
        parts += [nn.Conv2d(24, 8, 1, bias=False), nn.BatchNorm2d(8)]
    parts += [nn.Conv2d(8, 16, 1), nn.BatchNorm2d(16), act(), nn.AdaptiveAvgPool2d(1)]
    return nn.Sequential(*parts, nn.Flatten(), nn.Linear(16, 5)).eval()


def plain(bias: float = 0.0, *, pooled_last: bool = False) -> nn.Sequential:
    """A convolution, a ReLU and the class layer: a linear one, or a convolution that is pooled."""
    torch.manual_seed(1)
    first = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    last: nn.Module = nn.Conv2d(8, 3, 1) if pooled_last else nn.Linear(8, 3)
    nn.init.constant_(last.bias, bias)  # type: ignore[arg-type]
    return nn.Sequential(*first, *([last, *head] if pooled_last else [*head, last])).eval()


def said(found: tuple[str, ...], image: int, words: str) -> list[str]:
    return [note for note in found if note.startswith(f"image {image}: ") and words in note]


# ---- what reaches the picture ----


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("act", [nn.ReLU6, nn.ReLU])
def test_lost_relevance_is_said_with_a_composite_that_keeps_it(
    act: type[nn.Module], gated: bool
) -> None:
    classifier, x = wrap(inverted(act, gated), size=SIDE), pictures()
    found = explain(classifier, x)
    share = found.conservation.shares()["input"]
    assert (share < 0.05).all()
    kept = relevance(classifier, x, found.target, paper(gamma=1)).ledger.shares()["input"]
    assert (kept > 0.05).all()
    for i in range(2):
        (note,) = said(found.notes, i, "of the logit reaches the picture")
        assert f"{float(share[i]):.1%} of the logit" in note
        assert f"composite=paper(gamma=1) keeps {float(kept[i]):.0%}" in note
    better = explain(classifier, x, found.target, composite=paper(gamma=1))
    assert not said(better.notes, 0, "reaches the picture")


def test_of_a_batch_only_the_pictures_that_lost_are_named() -> None:
    net = plain()
    with torch.no_grad():
        net[4].weight[1].zero_()  # a logit that is its bias
        net[4].bias[1] = 2
    found = explain(wrap(net, size=SIDE), pictures(), [0, 1])
    assert not said(found.notes, 0, "reaches the picture")
    (note,) = said(found.notes, 1, "0.0% of the logit reaches the picture (bias 100.0%")
    assert note.endswith('none of paper(gamma=1), "epsilon", "attnlrp" keeps 5% to 200% of it')


def test_relevance_that_grows_is_said_too() -> None:
    net = plain(0)
    x = pictures(1)
    with torch.no_grad():
        net[4].bias[0] -= net(x)[0, 0] * 0.999  # what is added up nearly cancels
    found = explain(wrap(net, size=SIDE), x, 0)
    assert float(found.conservation.shares()["input"]) > 20
    assert said(found.notes, 0, "% of the logit reaches the picture")


def test_only_explain_asks_for_more_than_one_pass() -> None:
    classifier, x = wrap(inverted(nn.ReLU6, False), size=SIDE), pictures(1)
    with asking.watch() as seen:
        map = METHODS["hybrid"](classifier, x, 1)
    assert seen.images == 1
    assert torch.equal(map, explain(classifier, x, 1).hybrid)


# ---- a logit that is negative, or zero ----


@cache
def biased(bias: float, pooled_last: bool) -> Classifier:
    return wrap(plain(bias, pooled_last=pooled_last), size=SIDE)


@pytest.mark.parametrize("start", ["logit", "one"])
@pytest.mark.parametrize("composite", ["paper", "epsilon", "epsilon_plus", "epsilon_gamma_box"])
@pytest.mark.parametrize("pooled_last", [False, True])
def test_of_a_negative_logit_the_note_says_what_the_colours_do(
    pooled_last: bool, composite: str, start: str
) -> None:
    """The same evidence with another bias: the map stays as it is, or is turned over."""
    x, maps, told = pictures(), [], []
    for bias in (3.0, -3.0):
        found = explain(biased(bias, pooled_last), x, 1, composite=composite, start=start)
        assert (found.logits[:, 1] > 0).all() == (bias > 0)
        maps.append(found.relevance.flatten(1))
        told.append(found.notes)
    assert not [note for note in told[0] if "negative" in note]
    alike = torch.cosine_similarity(*maps)
    assert (alike.abs() > 0.7).all()
    for i in range(2):
        (note,) = said(told[1], i, "the logit is negative (-")
        turned = float(alike[i]) < 0
        assert ("red and blue change places" in note) == turned
        assert ("red and blue stay" in note) != turned
        if turned:
            other = "one" if start == "logit" else "logit"
            assert f'start="{other}" keeps them' in note


def test_of_a_logit_of_zero_every_share_is_zero() -> None:
    net = plain()
    with torch.no_grad():
        net[4].weight[1].zero_()
        net[4].bias[1] = 0
    found = explain(wrap(net, size=SIDE), pictures(), [0, 1])
    for share in found.conservation.shares().values():
        assert share.isfinite().all()
        assert float(share[1]) == 0
    assert float(found.conservation.shares()["input"][0]) != 0
    assert found.retention.isfinite().all()
    assert float(found.retention[1]) == 0
    assert said(found.notes, 1, "relevance starts from a logit of exactly 0")
    assert said(found.notes, 1, "the relevance is zero everywhere")
    spent = {name: float(share[1]) for name, share in found.conservation.shares().items()}
    plots.ledger(spent)  # drawn, where NaN was refused


def test_relevance_that_is_zero_everywhere_is_said() -> None:
    net = plain()
    with torch.no_grad():
        net[0].weight.zero_()
        net[0].bias.fill_(1)  # features that do not depend on the picture
    found = explain(wrap(net, size=SIDE), pictures(), 1, start="one")
    assert not found.relevance.any()
    for i in range(2):
        assert said(found.notes, i, "the relevance is zero everywhere")


# ---- what is no number ----


def test_relevance_that_is_no_number_is_refused_with_the_way_out() -> None:
    net, x = plain(), pictures(2)
    x[1] = 0.25
    with torch.no_grad():  # in the second picture sums that cancel to the last bits
        net[0].weight[:, :, 1, 1] -= net[0].weight.sum((2, 3))
        net[0].weight.mul_(1e-22)
        net[0].bias.fill_(1e18)
    unstable = Composite("unstable", (Row(WEIGHTED, "anywhere", z(bias=False)),), "a test")
    with pytest.raises(ValueError, match=r"unstable gives NaN or infinity for image .*epsilon"):
        relevance(wrap(net, size=SIDE), x * 1e-20, 1, unstable)


def test_logits_that_are_no_numbers_are_refused() -> None:
    net = plain()
    classifier = wrap(net, size=SIDE)
    with torch.no_grad():
        net[4].weight[0] = 3e38
    x = pictures()
    x[0] = 0
    x[1] *= 1e4
    with pytest.raises(ValueError, match="finite logits, got NaN or infinity for image 1"):
        explain(classifier, x, 1)


# ---- what is no picture ----

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _normalised(pixels: Tensor) -> Tensor:
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    return (pixels - mean) / std


@cache
def of_normalised() -> Classifier:
    return wrap(plain(), mean=MEAN, std=STD, size=SIDE)


@pytest.mark.parametrize(
    ("x", "far"),
    [
        pytest.param(_normalised(pictures(1)), False, id="a picture"),
        pytest.param(_normalised(torch.ones(1, 3, SIDE, SIDE)), False, id="white"),
        pytest.param(_normalised(torch.zeros(1, 3, SIDE, SIDE)) * (1 + 1e-5), False, id="rounding"),
        pytest.param(_normalised(pictures(1) * 1.2 - 0.1), False, id="overshoot"),
        pytest.param(pictures(1), False, id="not normalised: nobody can tell"),
        pytest.param(pictures(1) * 255, True, id="0..255"),
        pytest.param(_normalised(pictures(1) * 255), True, id="0..255, normalised"),
        pytest.param(_normalised(_normalised(pictures(1))), True, id="normalised twice"),
        pytest.param(_normalised(pictures(1) * 100), True, id="exposed a hundred times"),
    ],
)
def test_values_far_beyond_those_of_pictures_are_said(x: Tensor, far: bool) -> None:
    classifier = of_normalised()
    both = torch.cat((_normalised(pictures(1)), x))
    found = explain(classifier, both, 1)
    assert not said(found.notes, 0, "far beyond")
    assert bool(said(found.notes, 1, "classifier.preprocess")) == far


@pytest.mark.parametrize("low", [-1.0, -2.1])
def test_pixels_of_another_preprocessing_are_said(low: float) -> None:
    x = pictures(1) * (1 - low) + low  # -1..1, or ImageNet's, where 0..1 is meant
    (note,) = said(explain(wrap(plain(), size=SIDE), x, 1).notes, 0, "far beyond")
    assert "what a picture can be (0 to 1)" in note


# ---- where a user sees the map ----


@pytest.fixture
def negative() -> tuple[Classifier, int, PIL.Image.Image]:
    """A shipped network, the class that it thinks least of, and a picture."""
    classifier = load_model("scenes_vgg_seed0")
    image = scenes.sample("unit", 3).image
    logits = classifier.predict(classifier.preprocess(image))
    assert float(logits.min()) < 0
    return classifier, int(logits.argmin()), image


def test_the_command_prints_draws_and_keeps_the_notes(
    negative, tmp_path, capsys, monkeypatch
) -> None:
    _, target, image = negative
    image.save(tmp_path / "p.png")
    drawn = []
    monkeypatch.setattr(plots, "save", lambda figure, path, scale: drawn.append(figure))
    command = ["explain", str(tmp_path / "p.png"), "--target", str(target)]
    command += ["--model", "scenes_vgg_seed0"]
    assert cli.main([*command, "--out", str(tmp_path / "out")]) == 0
    assert "the logit is negative (" in capsys.readouterr().out
    with np.load(tmp_path / "out" / "p.npz") as kept:
        (note,) = kept["notes"].tolist()
    assert note.startswith("the logit is negative (")
    assert note in " ".join(t.get_text() for t in drawn[0].texts).replace("\n", " ")


def test_the_command_never_writes_over_its_pictures(tmp_path, capsys) -> None:
    scenes.sample("unit", 3).image.save(tmp_path / "p.png")
    before = (tmp_path / "p.png").read_bytes()
    for out in (tmp_path, tmp_path / "x" / ".."):
        assert cli.main(["explain", str(tmp_path), "--out", str(out)]) == 2
        assert "out must be another folder" in capsys.readouterr().err
    assert (tmp_path / "p.png").read_bytes() == before


def test_the_command_says_that_a_method_gave_an_empty_map(tmp_path, capsys, monkeypatch) -> None:
    from xaiutils.network import classifier as models

    net = plain()
    with torch.no_grad():
        net[4].weight.zero_()
    made = wrap(net, size=SIDE)
    monkeypatch.setattr(models, "load_model", lambda *args, **kwargs: made)
    PIL.Image.new("RGB", (SIDE, SIDE), "red").save(tmp_path / "p.png")
    command = ["explain", str(tmp_path / "p.png"), "--out", str(tmp_path / "out")]
    assert cli.main([*command, "--method", "lrp_paper"]) == 0
    printed = capsys.readouterr().out
    assert "the map is zero everywhere; bounding figure is empty" in printed
    assert cli.main(command) == 0
    assert "of the logit: nothing; " in capsys.readouterr().out


def test_the_explorer_shows_the_notes_of_the_class_and_of_its_contrast(negative) -> None:
    classifier, target, image = negative
    subject = Subject(classifier, of_explorer(image, None)[0].open())
    best = int(subject.logits.argmax())
    view = View(target=best, contrast=target, threshold=0.999999)
    factors = compute(subject, view)
    found = notes(subject, view, factors)
    assert [n for n in found if n.startswith(f"{classifier.classes[target]}: the logit is neg")]
    assert not [n for n in found if n.startswith(f"{classifier.classes[best]}: the logit")]
    said_in_figure = [text.get_text() for text in figure(subject, view, factors).texts]
    assert "the logit is negative" in " ".join(said_in_figure).replace("\n", " ")
    assert explore(image, classifier, static=True, target=best)


def test_the_explorer_notes_an_empty_figure_at_its_own_threshold() -> None:
    net = plain()
    with torch.no_grad():
        net[4].weight[1].zero_()
        net[4].bias[1] = 1
    image = PIL.Image.fromarray((pictures(1)[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8))
    subject = Subject(wrap(net, size=SIDE), of_explorer(image, None)[0].open())
    empty, full = View(target=1), View(target=0)
    text = "bounding figure is empty"
    assert sum(text in n for n in notes(subject, empty, compute(subject, empty))) == 1
    assert sum(text in n for n in notes(subject, full, compute(subject, full))) == 0


# ---- the rule that keeps it ----


def test_gamma_without_bias_hands_everything_down() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(4 * SIDE**2, 2))
    rows = (Row(WEIGHTED, "anywhere", gamma(1, bias=False)),)
    found = relevance(
        wrap(net.eval().double(), size=SIDE, cam_layer="0"),
        pictures().double(), 1, Composite("g", rows, "a test"),
    )  # fmt: skip
    assert found.ledger.bias.tolist() == [0, 0]
    torch.testing.assert_close(found.ledger.input, found.ledger.start, rtol=1e-4, atol=1e-6)


def test_gamma_without_bias_by_hand() -> None:
    """One output of two inputs: z = 2 - 3 < 0 without its bias, so what pushes down is favoured."""
    net = nn.Sequential(nn.Conv2d(3, 1, 1), nn.Flatten(), nn.Linear(4, 1, bias=False)).eval()
    with torch.no_grad():
        net[0].weight[:] = torch.tensor([2.0, -3.0, 0.0]).view(1, 3, 1, 1)
        net[0].bias[:] = 5
        net[2].weight[:] = torch.tensor([[1.0, 0, 0, 0]])
    classifier = wrap(net, size=2, cam_layer="0")
    x = torch.ones(1, 3, 2, 2)
    found = relevance(classifier, x, 0, paper(gamma=1)).map[0, :, 0, 0]
    # weights with gamma: 2 and -3 - 3; z = 2 - 6; the logit is 5 - 1 = 4
    assert found.tolist() == pytest.approx([4 * 2 / -4, 4 * -6 / -4, 0], rel=1e-5)
    assert paper(gamma=1).name == "paper(gamma=1)"
    assert paper(gamma=1, convolution_bias=True).rows[1].rule.name == "gamma(1)"
