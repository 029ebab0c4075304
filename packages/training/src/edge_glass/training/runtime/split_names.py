"""What a split is for, which its name decides."""

from __future__ import annotations

import re
from collections.abc import Iterable

TRAIN = "train"
# val, val_vendor, valid, validation; dev, dev_2; development. Not "devices".
_VALIDATION = re.compile(r"val|dev(elopment)?(?![a-z])", re.IGNORECASE)


def is_validation(name: str) -> bool:
    """Returns whether a split chooses between models; all but `train` and these report figures."""
    return _VALIDATION.match(name) is not None


def validation_splits(names: Iterable[str]) -> list[str]:
    """Returns the validation splits, sorted."""
    return sorted(filter(is_validation, names))


def held_out_splits(names: Iterable[str]) -> list[str]:
    """Returns the splits that are scored, in the given order: all but `train`."""
    return [name for name in names if name != TRAIN]


def splits_to_show(names: Iterable[str]) -> list[str]:
    """Returns the splits whose images a person looks at, in the given order.

    They are the validation splits; without any, the other held-out ones; without these, `train`.
    """
    given = list(names)
    return list(filter(is_validation, given)) or held_out_splits(given) or given
