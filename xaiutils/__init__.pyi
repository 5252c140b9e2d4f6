"""The public names, for type checkers and editors; `__init__.py` loads them when they are used."""

from xaiutils import (
    cam as cam,
    hybrid as hybrid,
    methods as methods,
    metrics as metrics,
    plots as plots,
)
from xaiutils.apps import explorer as explorer
from xaiutils.apps.explorer import (
    explore as explore,
)
from xaiutils.cam import (
    CAMS as CAMS,
)
from xaiutils.cases import workloads as workloads
from xaiutils.cases.workloads import (
    load_workload as load_workload,
)
from xaiutils.evidence import results as results, study as study
from xaiutils.evidence.results import (
    load_table as load_table,
)
from xaiutils.evidence.study import (
    create_study as create_study,
    load_study as load_study,
    open_study as open_study,
    run_study as run_study,
)
from xaiutils.hybrid import (
    Explanation as Explanation,
    bound as bound,
    class_activation_map as class_activation_map,
    explain as explain,
    fuse as fuse,
    grad_cam_plus_plus as grad_cam_plus_plus,
    relevance as relevance,
    smooth as smooth,
)
from xaiutils.lrp import composites as composites, ledger as ledger, rules as rules, walk as walk
from xaiutils.lrp.composites import (
    COMPOSITES as COMPOSITES,
    Composite as Composite,
    paper as paper,
)
from xaiutils.lrp.ledger import (
    Ledger as Ledger,
)
from xaiutils.lrp.walk import (
    Relevance as Relevance,
)
from xaiutils.methods import (
    METHODS as METHODS,
    CannotExplain as CannotExplain,
    Method as Method,
    baselines as baselines,
    combine as combine,
    layerwise as layerwise,
    related as related,
    rollout as rollout,
)
from xaiutils.methods.layerwise import (
    explain_layers as explain_layers,
)
from xaiutils.methods.rollout import (
    attention_rollout as attention_rollout,
)
from xaiutils.metrics import (
    METRICS as METRICS,
    CannotScore as CannotScore,
    Metric as Metric,
    load_cases as load_cases,
    score_table as score_table,
    scoring as scoring,
    stats as stats,
)
from xaiutils.metrics.scoring import (
    contender as contender,
    score as score,
)
from xaiutils.network import (
    classifier as classifier,
    step as step,
    targets as targets,
    weights as weights,
)
from xaiutils.network.classifier import (
    Classifier as Classifier,
    load_model as load_model,
    wrap as wrap,
)
from xaiutils.network.step import (
    GraphError as GraphError,
)
from xaiutils.network.weights import (
    MODELS as MODELS,
)
from xaiutils.pictures import (
    arrays as arrays,
    imagenet as imagenet,
    images as images,
    scenes as scenes,
    transforms as transforms,
)
from xaiutils.pictures.arrays import (
    Arrays as Arrays,
)
from xaiutils.pictures.imagenet import (
    open_imagenet as open_imagenet,
    sample_target as sample_target,
)
from xaiutils.pictures.images import (
    Sample as Sample,
    Transform as Transform,
    denormalise as denormalise,
    load_image as load_image,
    sample_photograph as sample_photograph,
)
from xaiutils.pictures.transforms import (
    read_transform as read_transform,
)
from xaiutils.support import asking as asking, cache as cache, checks as checks
from xaiutils.support.asking import (
    Cancelled as Cancelled,
    watch as watch,
)
from xaiutils.support.cache import (
    remember as remember,
)

__version__: str
__all__: list[str]
