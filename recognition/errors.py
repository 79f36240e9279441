"""Faults of recognition. Expected outcomes (nobody there, not known) are values, not errors."""

from __future__ import annotations


class RecognitionError(Exception):
    """Base of every fault of this package: one line that says what to do, in both languages.

    `str()` gives English; `words("zh")` Chinese.
    """

    def __init__(self, en: str, zh: str | None = None) -> None:
        super().__init__(en)
        self.en = en
        self.zh = zh or en

    def words(self, lang: str) -> str:
        """The line in "zh" or "en"."""
        return self.zh if lang == "zh" else self.en

    def __str__(self) -> str:  # an OSError would print its arguments as errno and text
        return self.en


class WeightsMissing(RecognitionError, FileNotFoundError):
    """A pinned weight file is nowhere: neither in a folder nor in the package registry."""


class WeightsCorrupt(RecognitionError, ValueError):
    """A weight file has the right name and other bytes than the pinned SHA-256 says."""


class EngineMissing(RecognitionError, ImportError):
    """The library behind an engine is not installed."""


class ModelMismatch(RecognitionError, ValueError):
    """Templates of one model were about to be compared with those of another."""


class BadTemplate(RecognitionError, ValueError):
    """A template is not finite, not of unit length or not of the gallery's dimension."""


class BadPicture(RecognitionError, ValueError):
    """A picture file or frame cannot be used; the text says which and why."""
