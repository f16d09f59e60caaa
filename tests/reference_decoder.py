"""A decoder of a .vqc file's indices: the second implementation of vqcodec/FORMAT.md.

It was written from FORMAT.md alone; it shares no code with the package. It uses Python integers,
numpy's int64 and nothing else, leaves streams of WebP to others, and follows the sections of
FORMAT.md (§) in their order.
"""

import binascii
import hashlib
import json
import math
import zlib
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MAX_PIXELS = 2**26  # this reader's own limit (§2: "the sizes against its limits")
DTYPES = {"I16": "int16", "I32": "int32", "F16": "float16", "F32": "float32"}


def decode_indices(data: bytes, model_folder: Path) -> np.ndarray:
    """The indices of a file, int32 [h, w, C], none of one without learned streams; ValueError for a
    file that a reader refuses."""
    header, segments, _ = read_file(data)
    if not header.is_learned:
        return np.empty(0, np.int32)
    model = load_model(model_folder)
    check(header.model_id == model.id, "the file is of another model")
    check(header.level < model.config["transform"]["levels"], "the model has no such level")
    shape = (*header.grid, model.config["transform"]["latents"])
    indices = np.empty(shape, np.int32)
    for (rows, columns), words in zip(header.tiles, segments, strict=True):
        tile = indices[rows, columns]
        tile[...] = decode_tile(model, header.level, tile.shape[:2], words)
    return indices


def find_exact(data: bytes) -> list[tuple[slice, slice, np.ndarray, bytes]]:
    """The tiles with exact blocks: their rows and columns in pixels, where they are exact, bool of
    the tile's shape, and the stream of WebP lossless."""
    header, _, exact = read_file(data)
    return [(*header.pixels(i), *part) for i, part in enumerate(exact) if part is not None]


def read_file(data: bytes) -> tuple["Header", list, list]:
    """The header, the segments of each tile, and the exact part of each, all checked."""
    reader = Reader(data)
    header = read_header(reader)
    segments, exact = [], []
    for i in range(len(header.tiles)):
        if header.is_learned:
            segments.append(read_tile(reader, header, i))
        if header.has_exact:
            exact.append(read_exact(reader, header, i))
    if header.has_chunks:
        read_chunks(reader)
    check(reader.at == len(data), "bytes follow the last part")
    return header, segments, exact


# §1 Conventions


def check(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def rounded_shift(x: np.ndarray, s: int) -> np.ndarray:
    """R(x, s)"""
    return (x + (1 << (s - 1))) >> s


class Reader:
    """The bytes of a file, read from the front."""

    def __init__(self, data: bytes):
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        check(self.at + size <= len(self.data), "the file is cut short")
        self.at += size
        return self.data[self.at - size : self.at]

    def integer(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def varint(self) -> int:
        value = 0
        for i in range(5):
            byte = self.integer(1)
            value |= (byte & 127) << 7 * i
            if byte < 128:
                check(byte > 0 or i == 0, "a varint is longer than it needs to be")
                check(value < 2**32, "a varint is too large")
                return value
        raise ValueError("a varint has more than 5 bytes")


# §2 Layout


@dataclass
class Header:
    level: int
    model_id: bytes
    grid: tuple[int, int]  # h, w in latents
    tiles: list[tuple[slice, slice]]  # rows and columns
    has_chunks: bool
    data: bytes  # with its check
    size: tuple[int, int]  # height, width in pixels
    has_exact: bool
    is_learned: bool
    depth: int

    def pixels(self, number: int) -> tuple[slice, slice]:
        """Rows and columns of a tile."""
        return tuple(
            slice(16 * part.start, min(16 * part.stop, length))
            for part, length in zip(self.tiles[number], self.size, strict=True)
        )


def read_header(reader: Reader) -> Header:
    check(reader.take(4) == b"\x89VQC", "not a .vqc file")
    version, flags = divmod(reader.integer(1), 16)
    check(version in (1, 2), "unknown version")
    check(flags < 8, "unknown flags")  # bit 2, grey, changes the synthesis alone
    level = reader.integer(1)
    model_id = reader.take(8)
    width, height = reader.varint(), reader.varint()
    tile_log2 = reader.integer(1) if flags & 1 else None
    features, depth, cicp = 0, 8, b""
    if version == 2:
        features = reader.integer(1)
        check(features < 16, "unknown features")
        depth = reader.integer(1) if features & 4 else 8
        cicp = reader.take(4) if features & 8 else b""
    found = binascii.crc_hqx(reader.data[: reader.at], 0xFFFF)
    check(reader.integer(2) == found, "the header is damaged")
    check(version == 1 or features > 0, "version 2 without need")
    check(features & 3 != 2, "neither words nor exact parts")
    check(not features & 4 or 9 <= depth <= 16, "no such depth")
    check(cicp[3:] in (b"", b"\0", b"\1"), "no such range")
    check(not features & 2 or (level == 0 and model_id == bytes(8)), "a model without use")
    check(level < 64, "no such level")
    check(1 <= width <= 2**18 and 1 <= height <= 2**18, "no such size")
    check(width * height <= MAX_PIXELS, "larger than this reader's limit")
    h, w = math.ceil(height / 16), math.ceil(width / 16)
    side = max(h, w)
    if tile_log2 is not None:
        check(2 <= tile_log2 <= 8, "no such tile size")
        side = 2**tile_log2
    tiles = [
        (slice(y, min(y + side, h)), slice(x, min(x + side, w)))
        for y in range(0, h, side)
        for x in range(0, w, side)
    ]
    check(tile_log2 is None or len(tiles) >= 2, "a tiled file with a single tile")
    start = reader.data[: reader.at]
    more = (height, width), bool(features & 1), not features & 2, depth
    return Header(level, model_id, (h, w), tiles, bool(flags & 2), start, *more)


def read_tile(reader: Reader, header: Header, number: int) -> list[list[int]]:
    """The words of the coarse and of the fine segment."""
    rows, columns = header.tiles[number]
    latents = (rows.stop - rows.start) * (columns.stop - columns.start)
    start, context = reader.at, header.data + number.to_bytes(4, "little")
    sizes = [reader.varint(), reader.varint()]
    check(max(sizes) <= 2048 * latents, "too many words")
    counts = reader.data[start : reader.at]
    coarse_check = reader.integer(2)
    coarse, fine = (reader.take(4 * size) for size in sizes)
    found = binascii.crc_hqx(context + counts + coarse, 0xFFFF)
    check(coarse_check == found, "a coarse segment is damaged")
    found = zlib.crc32(context + reader.data[start : reader.at])
    check(reader.integer(4) == found, "a tile is damaged")
    return [np.frombuffer(segment, "<u4").tolist() for segment in (coarse, fine)]


def read_exact(reader: Reader, header: Header, number: int) -> tuple[np.ndarray, bytes] | None:
    """Where a tile's pixels are exact, and their stream; None: nowhere."""
    rows, columns = header.pixels(number)
    height, width = rows.stop - rows.start, columns.stop - columns.start
    start, where, stream = reader.at, np.ones((height, width), bool), b""
    coder = reader.integer(1)
    check(coder < 2 and not (coder == 1 and header.depth > 8), "unknown coder")
    if coder == 1:
        if header.is_learned:
            where = read_map(reader, height, width)
        size = reader.varint()
        check(size <= 4 * height * width + 4096, "too many bytes")
        stream = reader.take(size)
    found = header.data + (2**31 + number).to_bytes(4, "little") + reader.data[start : reader.at]
    check(reader.integer(4) == zlib.crc32(found), "an exact part is damaged")
    if coder == 0:
        check(header.is_learned, "a tile without anything")
        return None
    check(max(height, width) <= 2**14, "a tile too large for a stream")
    bits = (width - 1) + ((height - 1) << 14)
    check(stream[:5] == b"\x2f" + bits.to_bytes(4, "little"), "a stream of another size")
    return where, stream


def read_map(reader: Reader, height: int, width: int) -> np.ndarray:
    log2 = reader.integer(1)
    check(4 <= log2 <= 8, "no such blocks")
    down, across = (math.ceil(side / 2**log2) for side in (height, width))
    bits: list[int] = []
    value, is_first = 0, True
    while len(bits) < down * across:
        run = reader.varint()
        check(run > 0 or is_first, "an empty run")
        bits += [value] * run
        check(len(bits) <= down * across, "runs are too long")
        value, is_first = 1 - value, False
    check(1 in bits, "no exact block")
    blocks, above = np.zeros((down, across), bool), np.zeros(across, bool)
    for y in range(down):
        above = above ^ np.array(bits[y * across : (y + 1) * across], bool)
        blocks[y] = above
    ys, xs = np.arange(height) >> log2, np.arange(width) >> log2
    return blocks[ys][:, xs]


def read_chunks(reader: Reader) -> None:
    """Skip chunks: none of them changes the indices, and ALPH is the one critical type."""
    kind, is_first = b"", True
    while kind != b"VEND":
        start = reader.at
        kind = reader.take(4)
        check(kind.isalpha(), "a chunk's type is not four letters")
        size = reader.varint()
        check(size <= 2**26, "a chunk is too long")
        reader.take(size)
        found = zlib.crc32(reader.data[start : reader.at])
        check(reader.integer(4) == found, "a chunk is damaged")
        check(kind in (b"VEND", b"ALPH") or kind[:1].islower(), "an unknown critical chunk")
        check(kind != b"VEND" or (size == 0 and not is_first), "a bad last chunk")
        is_first = False


# §3 The payload: rANS


class Payload:
    """A segment. A table is the list of its left edges with 2^24 behind the last."""

    def __init__(self, words: list[int]):
        check(not words or words[-1] != 0, "a payload's last word is zero")
        self.words = list(words)
        self.state = 0
        while self.state < 2**32 and self.words:
            self.state = self.state << 32 | self.words.pop()

    def decode(self, edges: list[int], count: int) -> list[int]:
        state, words, indices = self.state, self.words, []
        for _ in range(count):
            q = state & 0xFFFFFF
            i = bisect_right(edges, q) - 1
            state = (state >> 24) * (edges[i + 1] - edges[i]) + q - edges[i]
            if state < 2**32 and words:
                state = state << 32 | words.pop()
            indices.append(i)
        self.state = state
        return indices

    def finish(self) -> None:
        check(self.state == 0 and not self.words, "a payload does not end where it should")


# §4 Model


@dataclass
class Model:
    id: bytes
    config: dict
    tensors: dict[str, np.ndarray]
    tables: list[list[int]]  # left edges: the scalar tables, then the pair tables


def load_model(folder: Path) -> Model:
    config = json.loads((folder / "config.json").read_text())
    for fields, names in (
        (config, ("distortion",)),
        (config["transform"], ("encoder_fine_blocks", "encoder_coarse_blocks")),
    ):
        for name in names:
            fields.pop(name, None)
    prior = read_safetensors(folder / "prior.safetensors")
    tensors = prior | read_safetensors(folder / "decoder.safetensors")
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, separators=(",", ":")).encode())
    for name, tensor in sorted(tensors.items()):
        shape = ",".join(map(str, tensor.shape))
        digest.update(f"\n{name} {tensor.dtype.name} [{shape}]\n".encode() + tensor.tobytes())
    prior = {name: tensor.astype(np.int64) for name, tensor in prior.items()}
    return Model(digest.digest()[:8], config, prior, cut_tables(config, prior))


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """The length of the JSON header in 8 bytes, the header, the tensors."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    tensors = {}
    for name, entry in json.loads(data[8:start]).items():
        if name != "__metadata__":
            dtype = np.dtype(DTYPES[entry["dtype"]]).newbyteorder("<")
            begin, end = entry["data_offsets"]
            tensor = np.frombuffer(data[start + begin : start + end], dtype)
            tensors[name] = tensor.reshape(entry["shape"])
    return tensors


# §5 Codebooks and tables


def largest_words(config: dict) -> np.ndarray:
    """M_t of all classes."""
    q = config["quantizer"]
    scales = [2 ** (q["log_sigma_min"] + t / q["per_octave"]) for t in range(q["classes"])]
    return np.array([max(4, math.ceil(5 * scale)) for scale in scales])


def cut_tables(config: dict, tensors: dict[str, np.ndarray]) -> list[list[int]]:
    sizes = [2 * m + 2 for m in largest_words(config).tolist()]
    rows, words, _ = tensors["codebooks.pair_words"].shape
    sizes += [words + 1] * rows
    check(sum(sizes) == len(tensors["freqs"]), "the model's tables have another length")
    tables = []
    for counts in np.split(tensors["freqs"], np.cumsum(sizes)[:-1]):
        check(counts.min() >= 0, "a table of the model has a negative count")
        tables.append([0, *np.cumsum(counts + 1).tolist()])
        check(tables[-1][-1] == 2**24, "a table of the model has a wrong sum")
    return tables


def choose_tables(config: dict, classes: np.ndarray) -> np.ndarray:
    """The table of each place, for classes [positions, n]; -1 for second channels of pairs."""
    q = config["quantizer"]
    a, b = classes[:, 0::2], classes[:, 1::2]
    is_pair = (a < q["pair_classes"]) & (b < q["pair_classes"])
    merge = q["pair_merge"]
    row = a // merge * (q["pair_classes"] // merge) + b // merge
    tables = classes.copy()
    tables[:, 0::2][is_pair] = q["classes"] + row[is_pair]
    tables[:, 1::2][is_pair] = -1
    return tables


def look_up_words(model: Model, tables: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """The words in 2^-6 steps, for tables and indices of all places in order, both flat."""
    classes = model.config["quantizer"]["classes"]
    sizes = np.array([len(edges) - 1 for edges in model.tables])
    words = np.zeros(len(tables), np.int64)

    escapes = indices - (sizes[tables] - 1)  # e where not negative
    scalar = (tables >= 0) & (tables < classes)
    plain, place = scalar & (escapes < 0), scalar & (escapes >= 0)
    words[plain] = model.tensors["codebooks.scalar_words"][tables[plain], indices[plain]]
    e = escapes[place]
    sizes_m = largest_words(model.config)[tables[place]]
    words[place] = 64 * (sizes_m + 1 + e // 2) * np.where(e % 2, -1, 1)

    first = np.flatnonzero(tables >= classes)
    plain, place = first[escapes[first] < 0], first[escapes[first] >= 0]
    pairs = model.tensors["codebooks.pair_words"][tables[plain] - classes, indices[plain]]
    words[plain], words[plain + 1] = pairs[:, 0], pairs[:, 1]
    for k, e in ((0, escapes[place]), (1, indices[place + 1])):
        words[place + k] = 64 * np.where(e % 2, -(e + 1) // 2, e // 2)
    return words


# §6 Prior


def decode_tile(
    model: Model, level: int, size: tuple[int, int], segments: list[list[int]]
) -> np.ndarray:
    """The indices of a tile of size h, w."""
    prior, tensors = model.config["prior"], model.tensors
    payloads = [Payload(words) for words in segments]
    grid = np.arange(size[0])[:, None] % 4 * 4 + np.arange(size[1]) % 4  # the bit in a lattice
    latents = np.zeros((*size, model.config["transform"]["latents"]), np.int64)  # Y
    indices = np.full(latents.shape, -1, np.int32)
    state = np.zeros((*size, prior["width"]), np.int64)  # H
    for number, this in enumerate(prior["passes"]):
        if this.get("min_level", 0) > level:
            break
        if number:
            state = update_state(model, level, number, state, latents, grid)
        channels = slice(this["start"], this["stop"])
        knots = tensors[f"prior.passes.{number}.level.knots"][level]
        here = (this["lattice"] >> grid & 1).astype(bool)
        outputs = np.broadcast_to(knots, (*size, len(knots)))[here]
        if number:
            outputs = point_wise(state[here], tensors, f"prior.passes.{number}.head") + knots
        means, scales = np.split(outputs, 2, axis=1)

        means = np.clip(rounded_shift(means, 3), -(2**15), 2**15)
        means = rounded_shift(means * tensors["to_steps"][level, channels], 20)
        q = model.config["quantizer"]
        scales = scales + tensors["log_steps"][level, channels] - int(8192 * q["log_sigma_min"])
        classes = np.clip(rounded_shift(scales * q["per_octave"], 13), 0, q["classes"] - 1)

        tables = choose_tables(model.config, classes)
        payload = payloads[0 if number < prior["coarse_passes"] else 1]
        symbols = decode_symbols(model, payload, tables.ravel())
        words = look_up_words(model, tables.ravel(), symbols)
        latents[here, channels] = means + words.reshape(means.shape)
        indices[here, channels] = symbols.reshape(means.shape)
    for payload in payloads:
        payload.finish()
    return indices


def update_state(
    model: Model, level: int, number: int, state: np.ndarray, latents: np.ndarray, grid: np.ndarray
) -> np.ndarray:
    """Steps 1 to 3: H before the head of pass `number`, which is not 0."""
    passes, tensors = model.config["prior"]["passes"], model.tensors
    this, last = passes[number], passes[number - 1]
    name = f"prior.passes.{number}"

    channels = slice(last["start"], last["stop"])
    lattices = [p["lattice"] for p in passes[:number] if p["start"] == last["start"]]
    known = np.bitwise_or.reduce([lattice >> grid & 1 for lattice in lattices])[..., None]
    inputs = rounded_shift(latents[..., channels] * tensors["to_units"][level, channels], 17)
    inputs = np.concatenate([np.clip(inputs, -1023, 1023) * known, 32 * known], axis=2)

    total = 0
    for weight, shifted in taps(inputs, tensors[f"{name}.read.weight"], this["dilation"]):
        total = total + product(shifted, weight)
    state = add_to_state(state, total + tensors[f"{name}.read.bias"])
    for block in range(this["blocks"]):
        part = f"{name}.blocks.{block}"
        total = 0
        for weight, shifted in taps(state, tensors[f"{part}.spread.weight"], this["dilation"]):
            total = total + shifted * weight[:, 0]
        total = rounded_shift(total + tensors[f"{part}.spread.bias"], 8)
        total = point_wise(np.clip(total, -2047, 2047), tensors, f"{part}.expand")
        total = rounded_shift(total + tensors[f"{part}.level.knots"][level], 8)
        total = point_wise(np.clip(total, 0, 511), tensors, f"{part}.project")
        state = add_to_state(state, total)
    return state


def add_to_state(state: np.ndarray, change: np.ndarray) -> np.ndarray:
    return np.clip(state + rounded_shift(change, 8), -2047, 2047)


def taps(inputs: np.ndarray, weight: np.ndarray, dilation: int):
    """For each tap of a kernel [out, in, k, k] its weights [out, in] and the inputs it meets."""
    (h, w, _), k = inputs.shape, weight.shape[2]
    reach = k // 2 * dilation
    padded = np.pad(inputs, ((reach, reach), (reach, reach), (0, 0)))
    for i in range(k):
        for j in range(k):
            y, x = i * dilation, j * dilation
            yield weight[:, :, i, j].copy(), padded[y : y + h, x : x + w]


def point_wise(inputs: np.ndarray, tensors: dict[str, np.ndarray], name: str) -> np.ndarray:
    """A 1x1 convolution with its bias; channels are the last dimension."""
    return product(inputs, tensors[f"{name}.weight"][:, :, 0, 0]) + tensors[f"{name}.bias"]


def product(inputs: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """inputs @ weight.T, by the function of numpy that is the fastest one for int64."""
    return np.einsum("...i,oi->...o", inputs, weight)


def decode_symbols(model: Model, payload: Payload, tables: np.ndarray) -> np.ndarray:
    """The indices of a pass's places, flat; -1 for second channels of pairs."""
    indices = np.full(len(tables), -1)
    for table in np.unique(tables[tables >= 0]).tolist():
        places = np.flatnonzero(tables == table)
        indices[places] = payload.decode(model.tables[table], len(places))
    sizes = np.array([len(edges) - 1 for edges in model.tables])
    escaped = np.flatnonzero((tables >= 0) & (indices == sizes[tables] - 1))
    pairs = escaped[tables[escaped] >= model.config["quantizer"]["classes"]]
    indices[pairs + 1] = 0  # "K - 1 + e1 and e2" (§5): the second index is e2 alone
    places = np.sort(np.concatenate([escaped, pairs + 1]))  # of e, or of e1 and e2
    indices[places] += decode_numbers(payload, len(places))
    return indices


def decode_numbers(payload: Payload, count: int) -> np.ndarray:
    """The numbers that follow escapes: all first digits, then all second, then all third ones."""
    numbers = np.zeros(count, np.int64)
    places = np.arange(count)
    for digit in range(3):
        digits = np.array(payload.decode(list(range(0, 2**24 + 1, 2**16)), len(places)), np.int64)
        check(digit == 0 or not (digits == 0).any(), "a number is longer than it needs to be")
        numbers[places] += (digits & 127) << 7 * digit
        places = places[digits >= 128]
    check(len(places) == 0, "a number has more than three digits")
    check((numbers < 2**18).all(), "a number is too large")
    return numbers
