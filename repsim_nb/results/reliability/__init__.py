"""Checks of representations for properties that make measures mislead."""

from .clipping import clip_lengths
from .diagnosis import diagnose, summarize_findings
from .findings import Diagnosis, Finding
from .influential import LeftOut, leave_out
from .pair_checks import report
from .report_result import Report
from .separation import separating_direction
from .translation import translate, translated_cka, translation_curves, translation_limit

__all__ = [
    "Diagnosis",
    "Finding",
    "LeftOut",
    "Report",
    "clip_lengths",
    "diagnose",
    "leave_out",
    "report",
    "separating_direction",
    "summarize_findings",
    "translate",
    "translated_cka",
    "translation_curves",
    "translation_limit",
]
