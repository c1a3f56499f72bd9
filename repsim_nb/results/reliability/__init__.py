"""Can the number be trusted? What a representation has that makes a measure mislead."""

from .diagnosis import Diagnosis, Finding, diagnose, notes
from .translation import translation_limit

__all__ = ["Diagnosis", "Finding", "diagnose", "notes", "translation_limit"]
