"""Writing of ONNX models as bytes, without the `onnx` package.

A model is a message of protobuf: a sequence of fields, each a number with a wire type, then the
value. The numbers are those of onnx.proto. Here are only the fields that our networks need.
"""

import struct

import numpy as np

IR_VERSION, OPSET = 8, 17  # of ONNX 1.12, for old runtimes
TYPES = {"float32": 1, "int64": 7}  # TensorProto.DataType
FLOAT, INT, STRING, INTS = 1, 2, 3, 7  # AttributeProto.AttributeType
Shape = tuple[int | str, ...]  # names stand for sides that vary


class Graph:
    """Collects operators. Values go by their names."""

    def __init__(self, **inputs: tuple[str, Shape]):
        """inputs: type and shape of each."""
        self._inputs = inputs
        self._fields: list[bytes] = []
        self._count = 0

    def constant(self, values: np.ndarray | float | list[float]) -> str:
        """A float32 tensor; returns its name."""
        array = np.asarray(values, dtype="<f4")
        name = self._name()
        text = b"".join(_field(1, side) for side in array.shape)
        text += _field(2, TYPES["float32"]) + _field(8, name) + _field(9, array.tobytes())
        self._fields.append(_field(5, text))
        return name

    def node(self, operator: str, *inputs: str, **attributes: float | str | list[int]) -> str:
        """An operator with one output; returns its name."""
        name = self._name()
        text = b"".join(_field(1, value) for value in inputs)
        text += _field(2, name) + _field(4, operator)
        text += b"".join(_field(5, _attribute(*item)) for item in attributes.items())
        self._fields.append(_field(1, text))
        return name

    def model(self, *outputs: str) -> bytes:
        """The model with these float32 outputs."""
        text = b"".join(self._fields) + _field(2, "vqcodec")
        text += b"".join(_field(11, _value(name, *kind)) for name, kind in self._inputs.items())
        text += b"".join(_field(12, _value(name, "float32")) for name in outputs)
        return _field(1, IR_VERSION) + _field(8, _field(2, OPSET)) + _field(7, text)

    def _name(self) -> str:
        self._count += 1
        return f"v{self._count}"


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 128:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def _field(number: int, value: int | str | bytes) -> bytes:
    """An integer, not negative, or a string or message."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _attribute(name: str, value: float | str | list[int]) -> bytes:
    text = _field(1, name)
    if isinstance(value, float):
        return text + _varint(2 << 3 | 5) + struct.pack("<f", value) + _field(20, FLOAT)
    if isinstance(value, int):
        return text + _field(3, value) + _field(20, INT)
    if isinstance(value, str):
        return text + _field(4, value) + _field(20, STRING)
    return text + b"".join(_field(8, number) for number in value) + _field(20, INTS)


def _value(name: str, kind: str, shape: Shape | None = None) -> bytes:
    """A name with its tensor's type and, if given, shape."""
    text = _field(1, TYPES[kind])
    if shape is not None:
        sides = (_field(1, _field(1 if isinstance(side, int) else 2, side)) for side in shape)
        text += _field(2, b"".join(sides))
    return _field(1, name) + _field(2, _field(1, text))
