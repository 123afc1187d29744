"""What can go wrong, in one tree. Every message ends with the way out.

NbaError
├── InputError            somebody gave something wrong: a file, a field, a value (exit status 2, HTTP 4xx)
│   ├── ConfigError       a config folder: file, line, what is wrong, how to mend it
│   ├── ActivityError     an event that cannot be kept
│   ├── ProfileError      a profile or context that does not fit features.yaml
│   └── DataError         a file of activity, customers, outcomes or decisions: row and column
├── RuleError             a CEL rule could not be evaluated for this customer (the offer is withheld)
├── NotFoundError         no such decision, customer, model version
├── RefusedError          it ran and the answer is no: a gate, an overlap too poor (exit status 1)
└── UnavailableError      something outside is away (HTTP 503)
    ├── StoreError        Redis is away, full, read-only or answering nonsense
    ├── ModelError        a model is missing, corrupt or foreign
    └── JournalError      the disk does not take the decision log
"""

from __future__ import annotations


class NbaError(Exception):
    """Root of every error this project raises on purpose. `pointer` is the JSON pointer of the field where there is one."""

    def __init__(self, message: str, pointer: str = "") -> None:
        super().__init__(message)
        self.pointer = pointer


class InputError(NbaError):
    """Somebody gave something wrong."""


class ConfigError(InputError):
    """A config folder that cannot be used; carries every problem found, not only the first."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class ActivityError(InputError):
    """An event that cannot be kept."""


class ProfileError(InputError):
    """A profile or a context that does not fit features.yaml."""


class DataError(InputError):
    """A data file with a wrong row or column."""


class RuleError(NbaError):
    """A CEL rule could not be evaluated for this customer."""


class NotFoundError(NbaError):
    """No such decision, customer or model version."""


class RefusedError(NbaError):
    """It ran and the answer is no."""


class UnavailableError(NbaError):
    """Something outside is away."""


class StoreError(UnavailableError):
    """Redis is away, full, read-only or answering nonsense."""


class ModelError(UnavailableError):
    """A model is missing, corrupt or foreign."""


class JournalError(UnavailableError):
    """The disk does not take the decision log."""
