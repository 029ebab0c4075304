"""Small copies of embeddings for quick searches: the first numbers, in 8 bits or in 1 bit each.

A search compares the query with all codes, and ranks the best candidates by their full vectors. The
codes of 64 numbers in int8 take 64 bytes instead of 2,048.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

PRECISIONS = ("float32", "int8", "1bit")
CANDIDATES = 20  # per wanted image: full vectors that are compared after the codes, by default

_GROUP = 256  # values of which the largest is found first
_BLOCK = 2048  # rows that are converted at once and stay in the cache of one core


def check_precision(precision: str) -> None:
    """Refuses an unknown precision."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision}, expected one of {', '.join(PRECISIONS)}")


def code_name(dim: int, precision: str) -> str:
    """Returns the name of codes in an index."""
    return f"codes.{dim}.{precision}"


def parse_name(name: str) -> tuple[int, str]:
    """Returns the dim and the precision of a name that `code_name` made."""
    _, dim, precision = name.split(".")
    return int(dim), precision


def encode_rows(rows: NDArray[np.float32], dim: int, precision: str) -> NDArray[Any]:
    """Encodes embeddings (n, E): (n, dim) of float32 or int8, or (n, ceil(dim / 8)) bytes of bits.

    The first `dim` numbers are normalised. int8 has one factor for all rows, which puts their
    largest number at 127: products with a query are then proportional to cosines. Of 1 bit, only
    the sign is kept.
    """
    check_precision(precision)
    part = rows[:, :dim]
    if precision == "1bit":
        bits: NDArray[Any] = np.packbits(part > 0, axis=1)
        return bits
    lengths = np.linalg.norm(part, axis=1, keepdims=True)
    unit: NDArray[Any] = (part / np.maximum(lengths, np.float32(1e-12))).astype(np.float32)
    if precision == "float32":
        return unit
    largest = np.abs(unit).max(initial=1e-12)
    whole: NDArray[Any] = np.rint(unit * (127 / largest)).astype(np.int8)
    return whole


def nearest_rows(
    codes: NDArray[Any], query: NDArray[np.float32], precision: str, count: int
) -> NDArray[np.int64]:
    """Returns the rows of the `count` codes that are most like a query (dim,); the best first.

    Of equal codes the first row comes first, so the result does not depend on the machine.
    """
    if precision == "float32":
        return _largest(codes @ encode_rows(query[None], len(query), precision)[0], count)
    target = encode_rows(query[None], len(query), "int8")[0]
    products = bit_products if precision == "1bit" else int8_products
    return _largest(products(codes, target), count)


def int8_products(codes: NDArray[np.int8], target: NDArray[np.int8]) -> NDArray[Any]:
    """Returns the products of int8 codes (n, dim) and a target (dim,): exact whole numbers.

    simsimd, if it is installed, multiplies in int8. Otherwise blocks are converted to float32,
    which is exact too as long as no sum can reach 2**24, or else to float64.
    """
    dtype = np.float32 if 128 * 128 * codes.shape[1] < 2**24 else np.float64
    if not len(codes):
        return np.empty(0, dtype)
    if (simsimd := _working_simsimd()) is not None:
        products: NDArray[Any] = np.asarray(simsimd.cdist(target[None], codes, "dot"))[0]
        return products
    found = np.empty(len(codes), dtype)
    right, buffer = target.astype(dtype), np.empty((_BLOCK, codes.shape[1]), dtype)
    for start in range(0, len(codes), _BLOCK):
        block = codes[start : start + _BLOCK]
        np.copyto(buffer[: len(block)], block)
        np.dot(buffer[: len(block)], right, out=found[start : start + _BLOCK])
    return found


@cache
def _working_simsimd() -> Any | None:
    """Returns simsimd, or None if it is missing or does not work in this process.

    usearch 2.26 has functions of the same names. If it is loaded first, simsimd finds those, and
    then no longer recognises int8.
    """
    try:
        import simsimd
    except ImportError:
        return None
    probe = np.arange(-64, 64, dtype=np.int8)[None]
    try:
        found = np.asarray(simsimd.cdist(probe, probe, "dot"))
    except TypeError:
        return None
    return simsimd if found.item() == np.square(probe, dtype=np.int64).sum() else None


def bit_products(codes: NDArray[np.uint8], target: NDArray[np.int8]) -> NDArray[np.int32]:
    """Returns the products of 1-bit codes (n, bytes) and a target (dim,): exact whole numbers.

    A bit stands for +1 or -1; the target keeps the sizes of its numbers. This asymmetric distance
    (Jegou et al., 2011, "Product quantization for nearest neighbor search") finds more than the
    number of different bits. A table per byte of the code has the products of all 256 values.
    """
    numbers = np.zeros(8 * codes.shape[1], np.int32)
    numbers[: len(target)] = target
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
    sums = numbers.reshape(-1, 8) @ (2 * bits.astype(np.int32) - 1).T  # (bytes, 256)
    found = np.zeros(len(codes), np.int32)
    for start in range(0, len(codes), _BLOCK):
        part = found[start : start + _BLOCK]
        for table, column in zip(sums, codes[start : start + _BLOCK].T, strict=True):
            part += table[column]
    return found


def _largest(values: NDArray[Any], count: int) -> NDArray[np.int64]:
    """Returns the places of the `count` largest values, largest first; equal ones keep order."""
    places = np.arange(len(values))
    size = _GROUP if count <= len(values) // _GROUP else 1
    num_groups = len(values) // size
    if count <= num_groups:
        # Each of the `count` best groups holds a value that reaches the lowest of their maxima, so
        # the largest values reach it too. This reads a million values once, without sorting them.
        # If there are fewer groups than `count`, each value is a group.
        tops = values[: num_groups * size].reshape(num_groups, size).max(axis=1)
        threshold = np.partition(tops, num_groups - count)[num_groups - count]
        places = np.flatnonzero(values >= threshold)
    best: NDArray[np.int64] = places[np.argsort(-values[places], kind="stable")][:count]
    return best
