"""Writing of ONNX models as bytes, without the `onnx` package.

A model is a message of protobuf: a sequence of fields, each a number with a wire type, then the
value. The numbers are those of onnx.proto. Here are only the fields that our networks need.
"""

import struct
from collections.abc import Sequence

import numpy as np

from ...bitstream.byte_reader import varint

IR_VERSION, OPSET = 8, 17  # of ONNX 1.12, for old runtimes
TYPES = {"float32": 1, "int64": 7, "bool": 9}  # TensorProto.DataType
FLOAT, INT, STRING, INTS = 1, 2, 3, 7  # AttributeProto.AttributeType
Shape = tuple[int | str, ...]  # names stand for sides that vary


class Graph:
    """Collects operators. Values go by their names."""

    def __init__(self, **inputs: tuple[str, Shape]):
        """inputs: type and shape of each."""
        self._inputs = inputs
        self._text: list[bytes | np.ndarray] = []  # joined once: tensors are megabytes
        self._count = 0

    def constant(self, values: np.ndarray | float | list[float]) -> str:
        """A float32 tensor; returns its name."""
        array = np.asarray(values, dtype="<f4")
        name, content = self._name(), np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        text = b"".join(field(1, side) for side in array.shape)
        text += field(2, TYPES["float32"]) + field(8, name) + _head(9, len(content))
        self._text += [_head(5, len(text) + len(content)) + text, content]
        return name

    def node(self, operator: str, *inputs: str, **attributes: float | str | list[int]) -> str:
        """An operator with one output; returns its name."""
        name = self._name()
        text = b"".join(field(1, value) for value in inputs)
        text += field(2, name) + field(4, operator)
        text += b"".join(field(5, _attribute(*item)) for item in attributes.items())
        self._text.append(field(1, text))
        return name

    def model(self, *outputs: str, flags: Sequence[str] = ()) -> bytes:
        """The model with these float32 outputs, and those of flags, bool, behind them."""
        text = [*self._text, field(2, "vqcodec")]
        text += [field(11, _value(name, *kind)) for name, kind in self._inputs.items()]
        text += [field(12, _value(name, "float32")) for name in outputs]
        text += [field(12, _value(name, "bool")) for name in flags]
        head = field(1, IR_VERSION) + field(8, field(2, OPSET)) + _head(7, sum(map(len, text)))
        return b"".join([head, *text])

    def _name(self) -> str:
        self._count += 1
        return f"v{self._count}"


def field(number: int, value: int | str | bytes) -> bytes:
    """A field of a message: an integer, not negative, or a string or message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _head(number, len(data)) + data


def _head(number: int, length: int) -> bytes:
    """What is in front of a string or message of so many bytes."""
    return varint(number << 3 | 2) + varint(length)


def _attribute(name: str, value: float | str | list[int]) -> bytes:
    text = field(1, name)
    if isinstance(value, float):
        return text + varint(2 << 3 | 5) + struct.pack("<f", value) + field(20, FLOAT)
    if isinstance(value, int):
        return text + field(3, value) + field(20, INT)
    if isinstance(value, str):
        return text + field(4, value) + field(20, STRING)
    return text + b"".join(field(8, number) for number in value) + field(20, INTS)


def _value(name: str, kind: str, shape: Shape | None = None) -> bytes:
    """A name with its tensor's type and, if given, shape."""
    text = field(1, TYPES[kind])
    if shape is not None:
        sides = (field(1, field(1 if isinstance(side, int) else 2, side)) for side in shape)
        text += field(2, b"".join(sides))
    return field(1, name) + field(2, field(1, text))
