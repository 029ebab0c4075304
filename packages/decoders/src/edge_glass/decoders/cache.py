"""Keys and values of the positions that a recursive decoder has already processed."""

from __future__ import annotations

from jaxtyping import Int
from torch import Tensor


class KeyValueCache:
    """One pair of key and value buffers per attention call of a forward pass.

    A recursive decoder applies the same layer many times, each time to different states. A cached
    key therefore belongs to a call, not to a layer. Causality makes this exact: the states of a
    position at any call depend only on this and earlier positions.

    Buffers grow by doubling, so that a new token does not copy the whole past.
    """

    def __init__(self) -> None:
        self.length = 0  # positions completed by all calls
        self._keys: list[Tensor] = []
        self._values: list[Tensor] = []

    def extend(self, call: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Appends new keys and values of one call, and returns all keys and values of that call.

        Keys, already rotated, and values are those of the new positions, (B, S, H, head width). The
        results are views (B, length + S, H, head width) into the buffers. `call` counts the
        attention calls of this forward pass from 0.
        """
        end = self.length + keys.shape[1]
        if call == len(self._keys):
            capacity = max(end + 32, 2 * keys.shape[1])
            shape = (keys.shape[0], capacity, *keys.shape[2:])
            self._keys.append(keys.new_empty(shape))
            self._values.append(values.new_empty(shape))
        elif end > self._keys[call].shape[1]:
            self._keys[call] = _grown(self._keys[call], self.length, 2 * end)
            self._values[call] = _grown(self._values[call], self.length, 2 * end)
        all_keys, all_values = self._keys[call], self._values[call]
        all_keys[:, self.length : end] = keys
        all_values[:, self.length : end] = values
        return all_keys[:, :end], all_values[:, :end]

    def advance(self, num_positions: int) -> None:
        """Counts new positions, after every call has stored them."""
        self.length += num_positions

    def select(self, rows: Int[Tensor, " N"]) -> KeyValueCache:
        """Returns a copy of these rows, see `base.Cache`."""
        chosen = KeyValueCache()
        chosen.length = self.length
        chosen._keys = [each[rows] for each in self._keys]
        chosen._values = [each[rows] for each in self._values]
        return chosen


def _grown(buffer: Tensor, used: int, capacity: int) -> Tensor:
    larger = buffer.new_empty((buffer.shape[0], capacity, *buffer.shape[2:]))
    larger[:, :used] = buffer[:, :used]
    return larger
