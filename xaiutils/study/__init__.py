"""Studies: images × methods × metrics, in parts, on one core or a cluster, killed and resumed.

opened = create_study("results/mine", methods=["hybrid", "lrp_paper"], metrics=["srg"])
run_study(opened, workers=2)
table = load_study(opened)
"""

from xaiutils.files import BrokenPart, Busy
from xaiutils.study.configuration import Study
from xaiutils.study.engines import run_study
from xaiutils.study.folder import StudyFolder, create_study, open_study
from xaiutils.study.merge import merge_studies
from xaiutils.study.parts import ForeignPart
from xaiutils.study.tables import (
    against,
    load_study,
    read_log,
    study_status,
    study_summary,
    study_verdicts,
    write_result,
)
from xaiutils.study.trail import Unfinished
from xaiutils.study.work import ACCIDENTS

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
