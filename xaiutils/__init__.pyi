"""The public names, for type checkers and editors; `__init__.py` loads them when they are used."""

from xaiutils import cam as cam
from xaiutils import hybrid as hybrid
from xaiutils import methods as methods
from xaiutils import metrics as metrics
from xaiutils import plots as plots
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
from xaiutils.evidence import results as results
from xaiutils.evidence import study as study
from xaiutils.evidence.results import (
    load_table as load_table,
)
from xaiutils.evidence.study import (
    create_study as create_study,
)
from xaiutils.evidence.study import (
    load_study as load_study,
)
from xaiutils.evidence.study import (
    open_study as open_study,
)
from xaiutils.evidence.study import (
    run_study as run_study,
)
from xaiutils.hybrid import (
    Explanation as Explanation,
)
from xaiutils.hybrid import (
    bound as bound,
)
from xaiutils.hybrid import (
    class_activation_map as class_activation_map,
)
from xaiutils.hybrid import (
    explain as explain,
)
from xaiutils.hybrid import (
    fuse as fuse,
)
from xaiutils.hybrid import (
    grad_cam_plus_plus as grad_cam_plus_plus,
)
from xaiutils.hybrid import (
    relevance as relevance,
)
from xaiutils.hybrid import (
    smooth as smooth,
)
from xaiutils.lrp import composites as composites
from xaiutils.lrp import ledger as ledger
from xaiutils.lrp import rules as rules
from xaiutils.lrp import walk as walk
from xaiutils.lrp.composites import (
    COMPOSITES as COMPOSITES,
)
from xaiutils.lrp.composites import (
    Composite as Composite,
)
from xaiutils.lrp.composites import (
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
)
from xaiutils.methods import (
    CannotExplain as CannotExplain,
)
from xaiutils.methods import (
    Method as Method,
)
from xaiutils.methods import baselines as baselines
from xaiutils.methods import (
    combine as combine,
)
from xaiutils.methods import layerwise as layerwise
from xaiutils.methods import related as related
from xaiutils.methods import rollout as rollout
from xaiutils.methods.layerwise import (
    explain_layers as explain_layers,
)
from xaiutils.methods.rollout import (
    attention_rollout as attention_rollout,
)
from xaiutils.metrics import (
    METRICS as METRICS,
)
from xaiutils.metrics import (
    CannotScore as CannotScore,
)
from xaiutils.metrics import (
    Metric as Metric,
)
from xaiutils.metrics import (
    load_cases as load_cases,
)
from xaiutils.metrics import score_table as score_table
from xaiutils.metrics import scoring as scoring
from xaiutils.metrics import stats as stats
from xaiutils.metrics.scoring import (
    contender as contender,
)
from xaiutils.metrics.scoring import (
    score as score,
)
from xaiutils.network import classifier as classifier
from xaiutils.network import step as step
from xaiutils.network import targets as targets
from xaiutils.network import weights as weights
from xaiutils.network.classifier import (
    Classifier as Classifier,
)
from xaiutils.network.classifier import (
    load_model as load_model,
)
from xaiutils.network.classifier import (
    wrap as wrap,
)
from xaiutils.network.step import (
    GraphError as GraphError,
)
from xaiutils.network.weights import (
    MODELS as MODELS,
)
from xaiutils.pictures import arrays as arrays
from xaiutils.pictures import imagenet as imagenet
from xaiutils.pictures import images as images
from xaiutils.pictures import scenes as scenes
from xaiutils.pictures import transforms as transforms
from xaiutils.pictures.arrays import (
    Arrays as Arrays,
)
from xaiutils.pictures.imagenet import (
    open_imagenet as open_imagenet,
)
from xaiutils.pictures.imagenet import (
    sample_target as sample_target,
)
from xaiutils.pictures.images import (
    Sample as Sample,
)
from xaiutils.pictures.images import (
    Transform as Transform,
)
from xaiutils.pictures.images import (
    denormalise as denormalise,
)
from xaiutils.pictures.images import (
    load_image as load_image,
)
from xaiutils.pictures.images import (
    sample_photograph as sample_photograph,
)
from xaiutils.pictures.transforms import (
    read_transform as read_transform,
)
from xaiutils.support import asking as asking
from xaiutils.support import cache as cache
from xaiutils.support import checks as checks
from xaiutils.support.asking import (
    Cancelled as Cancelled,
)
from xaiutils.support.asking import (
    watch as watch,
)
from xaiutils.support.cache import (
    remember as remember,
)

__version__: str
__all__: list[str]
