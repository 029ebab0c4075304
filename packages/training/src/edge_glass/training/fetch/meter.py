"""Progress that a person can read: a bar on a terminal, a line a minute in a log."""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import Never

from tqdm import tqdm

from edge_glass.training.runtime.progress import say

SECONDS_A_LINE = 60.0


class Meter:
    """Counts what this run settles, and shows rate, failures by reason and time left."""

    def __init__(self, total: int, *, quiet: bool = False) -> None:
        self.total = total
        self.done = 0
        self.kept = 0
        self.failures: Counter[str] = Counter()
        self.retries = 0
        self.rejected = 0
        self._terminal = sys.stderr.isatty()
        self._bar: tqdm[Never] = tqdm(
            total=total, desc="fetch", unit=" pictures", disable=quiet or not self._terminal
        )
        self._quiet = quiet
        self._started = self._line = time.monotonic()

    def settled(self, count: int, reason: str | None) -> None:
        """Counts pictures; `reason` is None where they were kept."""
        if not count:
            return
        self.done += count
        if reason is None:
            self.kept += count
        else:
            self.failures[reason] += count
        self._bar.update(count)
        if self._terminal:
            # drawn with the bar's next refresh, ten times a second at most
            if reason is not None:
                self._bar.set_postfix_str(self.reasons(), refresh=False)
        elif not self._quiet and time.monotonic() - self._line > SECONDS_A_LINE:
            self._line = time.monotonic()
            rate = self.done / (self._line - self._started)
            left = (self.total - self.done) / rate / 60
            say(
                f"fetch: {self.done} of {self.total} pictures, {rate:.0f} a second, "
                f"{left:.0f} minutes left; {self.reasons() or 'no failures'}"
            )

    def reasons(self) -> str:
        """Returns failures by reason, the most frequent first."""
        return ", ".join(f"{reason} {count}" for reason, count in self.failures.most_common(5))

    def close(self) -> None:
        """Ends the bar."""
        self._bar.close()

    def reopened(self) -> None:
        """Takes one picture more to do: its bytes were lost."""
        self.total += 1
        self._bar.total = self.total
