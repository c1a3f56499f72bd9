"""Checks of representations for properties that make measures mislead."""

from .diagnosis import diagnose, summarize_findings
from .findings import Diagnosis, Finding
from .translation import translation_limit

__all__ = ["Diagnosis", "Finding", "diagnose", "summarize_findings", "translation_limit"]
