"""Every network that `load_model` knows: the shipped ones, and torchvision's classifiers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from xaiutils import checks
from xaiutils.borrowed import environment_kept

SCENE_NETWORKS = (
    *(f"scenes_vgg_seed{seed}" for seed in range(3)),
    *(f"scenes_{architecture}_seed0" for architecture in ("resnet", "inception", "vit")),
)


@dataclass(frozen=True)
class ModelRecord:
    """What `load_model` knows by ``name``: its ``family``, the names of published ``weights``."""

    name: str
    family: str
    weights: tuple[str, ...]


class _Models(Mapping[str, ModelRecord]):
    """Read at the first look: importing torchvision takes a second, and scenes do without."""

    @cached_property
    def _records(self) -> dict[str, ModelRecord]:
        with environment_kept():
            from torchvision import models

        shipped = [ModelRecord(name, "scenes", ()) for name in SCENE_NETWORKS]
        published = [
            ModelRecord(name, "torchvision", tuple(w.name for w in models.get_model_weights(name)))
            for name in models.list_models(module=models)
        ]
        return {record.name: record for record in (*shipped, *published)}

    def __getitem__(self, name: str) -> ModelRecord:
        if name not in self._records:
            raise KeyError(checks.absent("model", name, self._records))
        return self._records[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)


MODELS: Mapping[str, ModelRecord] = _Models()
