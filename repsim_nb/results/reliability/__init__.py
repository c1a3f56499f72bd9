"""Can the number be trusted? What a representation has that makes a measure mislead."""

from .diagnosis import diagnose, summarize_findings
from .findings import Diagnosis, Finding
from .translation import translation_limit

__all__ = ["Diagnosis", "Finding", "diagnose", "summarize_findings", "translation_limit"]
