"""Studies: images × methods × metrics, in parts, on one core or many, killed and resumed.

`engines` runs one, and goes on with what there is; `folder` makes and opens one; `work` scores.

opened = create_study("results/mine", methods=["hybrid", "lrp_paper"], metrics=["srg"])
run_study(opened, workers=2)
table = load_study(opened)
"""

from xaiutils.evidence.study.configuration import Study
from xaiutils.evidence.study.engines import run_study
from xaiutils.evidence.study.folder import StudyFolder, create_study, open_study
from xaiutils.evidence.study.parts import ForeignPart, merge_studies
from xaiutils.evidence.study.tables import (
    against,
    load_study,
    read_log,
    study_status,
    study_summary,
    study_verdicts,
    write_result,
)
from xaiutils.evidence.study.trail import Unfinished
from xaiutils.evidence.study.work import ACCIDENTS
from xaiutils.support.files import BrokenPart, Busy

__all__ = [
    "ACCIDENTS",
    "BrokenPart",
    "Busy",
    "ForeignPart",
    "Study",
    "StudyFolder",
    "Unfinished",
    "against",
    "create_study",
    "load_study",
    "merge_studies",
    "open_study",
    "read_log",
    "run_study",
    "study_status",
    "study_summary",
    "study_verdicts",
    "write_result",
]
