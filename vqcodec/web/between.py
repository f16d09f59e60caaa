"""An ONNX graph between two others of one structure, with the place between them as an input.

The networks of a dial: of the same operators, with other weights at either end. Only the fields
of onnx.proto that `engine.onnx.graph` writes are looked at.
"""

from collections.abc import Iterator
from itertools import zip_longest

import numpy as np

from ..bitstream.byte_reader import Cursor
from ..engine.onnx.graph import field

GRAPH, NODE, INITIALIZER, INPUT = 7, 1, 5, 11  # numbers of fields: of a model, and of its graph
TENSOR_NAME, TENSOR_DATA = 8, 9
VARINT, MESSAGE = 0, 2  # wire types
FLOAT = 1  # TensorProto.DataType


def graph_between(start: bytes, end: bytes, name: str) -> bytes:
    """The model whose every constant c is start's + (end's - start's) * w, in float32.

    name: of the new input w, float32 [1]. Raises ValueError unless the two differ in their float32
    constants alone.
    """
    outer, other = list(_fields(start)), list(_fields(end))
    graph, other_graph = (next(v for n, v in found if n == GRAPH) for found in (outer, other))
    pairs = zip_longest(_fields(graph), _fields(other_graph), fillvalue=(0, b""))
    added, kept = [(INPUT, _scalar_input(name))], []
    for (number, first), (other_number, second) in pairs:
        if first == second:
            kept.append((number, first))
        elif number == other_number == INITIALIZER and _described(first) == _described(second):
            added += _blend(first, second, name)
        else:
            raise ValueError("the graphs differ in more than their constants' values")
    body = b"".join(field(*item) for item in added + kept)
    return b"".join(field(n, body if n == GRAPH else value) for n, value in outer)


def _described(tensor: bytes) -> list[tuple[int, int | bytes]]:
    """What a tensor says of itself, its name, type and shape."""
    return [item for item in _fields(tensor) if item[0] != TENSOR_DATA]


def _blend(first: bytes, second: bytes, weight: str) -> list[tuple[int, bytes]]:
    """The fields that give a constant's name to its value between two."""
    start, end = dict(_fields(first)), dict(_fields(second))
    name = start[TENSOR_NAME].decode()
    a, b = (np.frombuffer(found[TENSOR_DATA], "<f4") for found in (start, end))
    values = {f"{name}.start": a, f"{name}.change": b - a}
    tensors = [
        b"".join(
            field(number, {TENSOR_NAME: key.encode(), TENSOR_DATA: array.tobytes()}.get(number, v))
            for number, v in _fields(first)
        )
        for key, array in values.items()
    ]
    step = f"{name}.step"
    return [
        *((INITIALIZER, tensor) for tensor in tensors),
        (NODE, _node("Mul", f"{name}.change", weight, step)),
        (NODE, _node("Add", f"{name}.start", step, name)),
    ]


def _node(operator: str, first: str, second: str, output: str) -> bytes:
    values = ((1, first), (1, second), (2, output), (4, operator))
    return b"".join(field(number, text) for number, text in values)


def _scalar_input(name: str) -> bytes:
    """The description of an input float32 [1]."""
    shape = field(1, field(1, 1))
    kind = field(1, field(1, FLOAT) + field(2, shape))
    return field(1, name) + field(2, kind)


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The number and the value of each field of a message."""
    cursor = Cursor(message)
    while cursor.left:
        number, kind = divmod(cursor.varint("key"), 8)
        value = cursor.varint("value or length")
        if kind not in (VARINT, MESSAGE):
            raise ValueError(f"a field of wire type {kind}, expected {VARINT} or {MESSAGE}")
        yield number, cursor.take(value, "message") if kind == MESSAGE else value
