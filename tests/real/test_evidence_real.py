"""The stored tables of ImageNet are what these pictures and this network give.

Needs what conftest.py says; another network, or other pictures, have tables of their own.
"""

import pytest

from xaiutils.cases.workloads import Workload
from xaiutils.evidence import experiments, fingerprint, tables
from xaiutils.evidence.results import folder, largest_difference, load_table

STORED = {"table_one": ("hybrid", "bounded_noise"), "localisation": ("lrp_paper", "hybrid")}


def stored(name: str, work: Workload):
    """The stored table, if it is of this network."""
    if not (folder(work) / f"{name}.parquet").is_file():
        pytest.skip(f"{name} is not stored for {work.classifier.name}")
    table = load_table(name, work)
    if table.attrs["weights"] != {work.classifier.name: fingerprint.weights(work.classifier)}:
        pytest.skip(f"the stored {name} is of other weights")
    return table


@pytest.mark.parametrize("name", STORED)
def test_the_rows_of_a_picture_made_anew_are_the_stored_ones(name, work):
    kept, methods = stored(name, work), STORED[name]
    live = tables.make_table(name, "imagenet", images=1, methods=methods)
    if not set(live["image"]) <= set(kept["image"]):
        pytest.skip(f"the stored {name} is of other pictures")
    assert len(live) == len(methods) * len(experiments.EXPERIMENTS[name].metrics)
    assert largest_difference(live, kept) < 1e-3


def test_all_correctly_classified_pictures_with_boxes_and_no_others_are_scored(work):
    kept = stored("table_one", work)
    right = {work.samples[i].id for i in tables._right(work, 10**6, False)}
    if not right & set(kept["image"]):
        pytest.skip("the stored table_one is of other pictures")
    assert set(kept["image"]) == right
    print(f"\n{len(right)} of {len(work.samples)} pictures are classified correctly and scored")
