"""Memory and work of a program, found by running it on tensors that have shapes but no data.

The real classes run forward and backward under torch's `FakeTensorMode`. Each operation returns
tensors without numbers, so a step of a model of billions of weights takes seconds and no memory.
What is counted is what autograd keeps and frees, whatever the classes do.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


class UnknownSizeError(ValueError):
    """A need that is not known before the weights are loaded or the stage runs."""


class Count(TorchDispatchMode):
    """Counts the bytes of all storages that are alive, and the work of matrix products.

    Attributes:
        now, peak: bytes.
        flops: additions and multiplications, as torch's FLOP counter has them.
        found: how many True a boolean tensor has, for `nonzero` and as the largest number per row
            (`int(mask.sum(dim=1).max())`); a tensor without data can't tell.
    """

    def __init__(self, found: int = 0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = self.flops = 0
        self.found = found
        self._sizes: dict[int, int] = {}
        self._counts: set[int] = set()  # storages that hold how many True there are

    def hold(self, tensor: Tensor) -> None:
        """Counts the storage of a tensor until it is freed; each storage counts once."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._sizes:
            return
        self._sizes[key] = size = storage.nbytes()
        weakref.finalize(storage, self._free, key)
        self.now += size
        self.peak = max(self.peak, self.now)

    def _free(self, key: int) -> None:
        self.now -= self._sizes.pop(key)
        self._counts.discard(key)

    def _is_count(self, tensor: Tensor) -> bool:
        return tensor.untyped_storage()._cdata in self._counts

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is torch.ops.aten.nonzero.default:
            found = torch.empty(self.found, args[0].ndim, dtype=torch.long)
        elif func is torch.ops.aten._local_scalar_dense.default and self._is_count(args[0]):
            return self.found
        else:
            found = func(*args, **(kwargs or {}))
        for each in tree_leaves(found):
            if isinstance(each, Tensor):
                self.hold(each)
        if (func is torch.ops.aten.sum.dim_IntList and args[0].dtype == torch.bool) or (
            func is torch.ops.aten.max.default and self._is_count(args[0])
        ):
            self._counts.add(found.untyped_storage()._cdata)
        work = flop_registry.get(func._overloadpacket)
        if work is not None:
            self.flops += int(work(*args, **(kwargs or {}), out_val=found))
        return found


@contextmanager
def counted(*modules: nn.Module, found: int = 0) -> Iterator[Count]:
    """Yields a count that begins with the weights of the modules, which lose their data.

    Tensors that are made inside have no data either. For `found` see `Count`.

    Raises:
        UnknownSizeError: if an operation needs the numbers, such as `item` in a plug-in.
    """
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):
            count = Count(found)
            for module in modules:
                for tensor in _without_data(module):
                    count.hold(tensor)
            with count:
                yield count
    except (DataDependentOutputException, DynamicOutputShapeException) as error:
        raise UnknownSizeError(
            f"memory can't be planned: a component calls {error.func}, whose result depends on "
            "numbers, and a plan has only shapes; the stage can run without a plan"
        ) from None


def _without_data(module: nn.Module) -> Iterator[Tensor]:
    """Replaces weights and buffers by tensors without data; a weight of two names stays one."""
    made: dict[Tensor, Tensor] = {}  # by identity, as tensors hash
    for part in module.modules():
        for table in (part._parameters, part._buffers):
            for name, value in table.items():
                if value is not None:
                    if value not in made:
                        made[value] = _empty(value)
                    table[name] = made[value]  # type: ignore[assignment]
    yield from made.values()


def _empty(value: Tensor) -> Tensor:
    empty = torch.empty(value.shape, dtype=value.dtype)
    is_parameter = isinstance(value, nn.Parameter)
    return nn.Parameter(empty, requires_grad=value.requires_grad) if is_parameter else empty
