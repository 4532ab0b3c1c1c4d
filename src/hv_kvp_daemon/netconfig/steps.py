"""The type of what finds something out and may have to ask a program for it.

A generator that yields a `Question`, is sent its `Answer`, and returns what it
has found.  Nothing runs and nothing waits in there: `inquiry` does that.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import TypeAlias, TypeVar

    from .program import Answer, Question

    T = TypeVar("T")
    Steps: TypeAlias = Generator[Question, Answer, T]
