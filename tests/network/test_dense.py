"""Tensors that hold no number for each place, and other kinds, are refused in our words."""

from __future__ import annotations

import re
import warnings
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from xaiutils import plots
from xaiutils.cases.case import Case
from xaiutils.hybrid import bound, class_activation_map, explain, fuse, relevance, smooth
from xaiutils.methods import METHODS
from xaiutils.methods.layerwise import explain_layers
from xaiutils.methods.related import clrp, relevance_cam
from xaiutils.methods.segments import slic
from xaiutils.metrics import METRICS, rank_accuracy
from xaiutils.network.classifier import Classifier, wrap

X = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))


@cache
def classifier() -> Classifier:
    layers = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return wrap(nn.Sequential(*layers).eval(), size=12)


def nested(x: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls them a prototype
        return torch.nested.nested_tensor(list(x))


def rows(x: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls them beta
        return x[0, 0].to_sparse_csr()


def quantised(x: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch means to drop them
        return torch.quantize_per_tensor(x, 0.1, 0, torch.quint8)


KINDS = {  # how it is made of a good one, and what is said of it
    "sparse": (lambda x: x.to_sparse(), "got one of layout torch.sparse_coo: its .to_dense() is"),
    "sparse rows": (rows, "got one of layout torch.sparse_csr: its .to_dense() is one"),
    "nested": (nested, "got a nested one: torch.stack(list(...)) makes one"),
    "meta": (lambda x: x.to("meta"), "got one on the meta device, which holds no numbers"),
    "quantised": (quantised, "got a quantised one, torch.quint8: its .dequantize() is one"),
    "complex": (lambda x: x.to(torch.complex64), "got torch.complex64; x.real makes one"),
    "integer": (lambda x: x.to(torch.int64), "got torch.int64; x.float() makes one"),
    "bool": (lambda x: x > 0.5, "got torch.bool; x.float() makes one"),
    "half": (
        lambda x: x.half(),
        "got torch.float16 on cpu; x.to('cpu', torch.float32) makes it",
    ),
    "bfloat16": (lambda x: x.bfloat16(), "got torch.bfloat16 on cpu; x.to('cpu', torch.float32)"),
    "double": (lambda x: x.double(), "got torch.float64 on cpu; x.to('cpu', torch.float32) makes"),
    "array": (lambda x: x.numpy(), "got ndarray; classifier.preprocess(pictures) gives one"),
    "list": (lambda x: x.tolist(), "got list; classifier.preprocess(pictures) gives one"),
    "nothing": (lambda x: None, "got NoneType None; classifier.preprocess(pictures) gives one"),
}
TAKEN = {
    "predict": lambda x: classifier().predict(x),
    "explain": lambda x: explain(classifier(), x),
    "explain for a target": lambda x: explain(classifier(), x, 1),
    "relevance": lambda x: relevance(classifier(), x),
    "cam": lambda x: class_activation_map(classifier(), x),
    "layers": lambda x: explain_layers(classifier(), x, 0),
    "saliency": lambda x: METHODS["saliency"](classifier(), x),
    "lime": lambda x: METHODS["lime"](classifier(), x),
    "hybrid": lambda x: METHODS["hybrid"](classifier(), x, 0),
    "slic": lambda x: slic(classifier(), x),
    "clrp": lambda x: clrp(classifier(), x),
    "relevance cam": lambda x: relevance_cam(classifier(), x, 0),
    "case": lambda x: Case("a", classifier(), x, 0),
}


@pytest.mark.parametrize("call", TAKEN)
def test_pictures_of_other_kinds_are_refused_in_words(call):
    for make, said in KINDS.values():
        with pytest.raises(TypeError, match=rf"^x must be .*{re.escape(said)}"):
            TAKEN[call](make(X))


HOLLOW = ("sparse", "nested", "meta", "quantised")
MAP = X[0, :1]
OTHERS = {
    "maps": (bound, MAP),
    "bounded": (lambda one: fuse(one, MAP), MAP),
    "relevance": (lambda one: fuse(MAP, one), MAP),
    "map": (lambda one: smooth(one, 1), MAP),
    "masks": (lambda one: rank_accuracy(MAP, one), MAP > 0.5),
    "mask": (lambda one: Case("a", classifier(), X, 0, mask=one), MAP[0] > 0.5),
    "attribution": (lambda one: score(attribution=one), MAP[0]),
    "baseline": (lambda one: METHODS["occlusion"](classifier(), X, 0, baseline=one), X[0]),
    "baselines": (lambda one: METHODS["gradient_shap"](classifier(), X, 0, baselines=one), X),
    "segments": (lambda one: METHODS["lime"](classifier(), X, 0, segments=one), MAP.long()),
    "target": (lambda one: explain(classifier(), X, one), torch.tensor([1])),
    "drawn": (plots.heatmap, MAP[0]),
}


def score(**given: object) -> object:
    case = Case("a", classifier(), X, 0)
    return METRICS["sparseness"](case, METHODS["saliency"], **given)


@pytest.mark.parametrize("argument", OTHERS)
def test_other_tensors_without_numbers_are_refused_in_words(argument):
    call, good = OTHERS[argument]
    for kind in HOLLOW:
        if kind == "quantised" and not good.is_floating_point():
            continue  # only floats are quantised
        with pytest.raises(TypeError, match=r" must be (a dense torch|a bool tensor)"):
            call(KINDS[kind][0](good))


def test_what_is_dense_is_taken_as_before():
    for one in (
        X,
        X.to(memory_format=torch.channels_last),
        nn.Parameter(X),
        X.expand(2, 3, 12, 12),
    ):
        assert np.isfinite(classifier().predict(one).numpy()).all()
