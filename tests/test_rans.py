"""rANS: the words are those of the integer definition, and damage is found."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqcodec.entropy.rans import Reader, Tables, Writer
from vqcodec.errors import CorruptError

SIZES = [1, 2, 3, 17, 256, 1, 700]


def random_counts(size: int, rng: np.random.Generator) -> np.ndarray:
    """uint32 [size], some of them zero, with the sum that Tables asks for."""
    weights = rng.random(size) ** 6
    counts = (weights / weights.sum() * (2**24 - size)).astype(np.int64)
    counts[rng.integers(size)] += 2**24 - size - counts.sum()
    return counts.astype(np.uint32)


FREQS = [random_counts(size, np.random.default_rng(size)) for size in SIZES]
TABLES = Tables(FREQS)


def random_pass(size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices int32 [size] and their classes, all symbols of a class equally likely."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(len(SIZES), size=size).astype(np.uint8)
    return (rng.random(size) * TABLES.sizes[classes]).astype(np.int32), classes


def encode(passes) -> bytes:
    writer = Writer(TABLES)
    for indices, classes in reversed(passes):
        writer.push(indices, classes)
    return writer.finish()


def reference_words(passes) -> list[int]:
    """The definition of FORMAT.md in plain integers: last pass, class and symbol first."""
    state, words = 0, []
    for indices, classes in reversed(passes):
        symbols = sorted(zip(classes.tolist(), range(len(classes)), indices.tolist(), strict=True))
        for number, _, index in reversed(symbols):
            if SIZES[number] == 1:
                continue
            left = int(FREQS[number][:index].sum()) + index
            weight = int(FREQS[number][index]) + 1
            if state >> 40 >= weight:
                words.append(state & 0xFFFFFFFF)
                state >>= 32
            state = (state // weight) << 24 | (state % weight + left)
    while state:
        words.append(state & 0xFFFFFFFF)
        state >>= 32
    return words


@given(st.lists(st.integers(0, 60), max_size=4), st.integers(0, 1000))
def test_words_are_those_of_the_integer_definition(lengths, seed):
    passes = [random_pass(length, seed + i) for i, length in enumerate(lengths)]
    words = np.frombuffer(encode(passes), dtype="<u4")

    assert words.tolist() == reference_words(passes)


def test_words_of_version_1_are_exactly_these():
    counts = [[0], [2**24 - 2, 0], [3, 2**23, 2**23 - 6]]
    tables = Tables([np.array(row, np.uint32) for row in counts])
    writer = Writer(tables)
    writer.push(np.array([1, 0, 2, 0, 1], np.int32), np.array([1, 0, 2, 2, 2]))
    writer.push(np.array([0, 1, 1], np.int32), np.array([1, 2, 1]))

    assert writer.finish().hex() == "eeff7f150000050100050000"


@given(st.lists(st.integers(0, 300), max_size=5), st.integers(0, 1000))
def test_passes_come_back_first_to_last(lengths, seed):
    passes = [random_pass(length, seed + i) for i, length in enumerate(lengths)]
    reader = Reader(encode(passes), TABLES)
    for indices, classes in passes:
        found = reader.pull(classes)
        assert found.dtype == np.int32
        assert np.array_equal(found, indices)
    reader.finish()


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, np.uint64])
def test_the_dtype_of_the_classes_does_not_change_the_words(dtype):
    indices, classes = random_pass(100, 3)

    assert encode([(indices, classes.astype(dtype))]) == encode([(indices, classes)])


def test_one_word_classes_and_empty_passes_take_no_bytes():
    nothing = np.zeros(0, np.int32), np.zeros(0, np.uint8)
    zeros = np.zeros(9, np.int32), np.tile(np.array([0, 5, 0], np.uint8), 3)

    assert encode([nothing, zeros, nothing]) == b""
    reader = Reader(b"", TABLES)
    assert reader.pull(zeros[1]).tolist() == [0] * 9
    reader.finish()


@given(st.binary(min_size=4, max_size=64), st.integers(0, 1000))
def test_words_that_decode_cleanly_are_the_words_of_what_was_decoded(payload, seed):
    """No two payloads give the same indices, so any damage changes them or is found."""
    payload = payload[: len(payload) // 4 * 4]
    _, classes = random_pass(20, seed)
    try:
        reader = Reader(payload, TABLES)
        indices = reader.pull(classes)
        reader.finish()
    except CorruptError:
        return

    assert encode([(indices, classes)]) == payload


def test_damaged_words_raise_corrupt_error():
    indices, classes = random_pass(500, 7)
    payload = encode([(indices, classes)])
    damaged = [payload[:-4], payload[4:], payload + b"\1\0\0\0", payload[4:] + payload[:4]]
    for position in range(0, len(payload), 5):
        flipped = bytearray(payload)
        flipped[position] ^= 0x10
        damaged.append(bytes(flipped))
    for data in damaged:
        reader = Reader(data, TABLES)
        reader.pull(classes)
        with pytest.raises(CorruptError, match="words are left"):
            reader.finish()


@pytest.mark.parametrize(
    ("payload", "reason"),
    [(b"\1\0\0", "3 bytes, expected whole words"), (b"\1\0\0\0" + bytes(4), "zero word")],
)
def test_payloads_that_no_writer_makes_raise_corrupt_error(payload, reason):
    with pytest.raises(CorruptError, match=reason):
        Reader(payload, TABLES)


def test_an_unread_pass_is_found_at_the_end():
    passes = [random_pass(50, 1), random_pass(50, 2)]
    reader = Reader(encode(passes), TABLES)
    reader.pull(passes[0][1])
    with pytest.raises(CorruptError, match="words are left"):
        reader.finish()


@pytest.mark.parametrize(
    ("indices", "classes", "reason"),
    [
        ([2], [1], "index out of range"),
        ([-1], [1], "index out of range"),
        ([1], [0], "index out of range"),
        ([0], [7], "class out of range"),
        ([0], [-1], "class out of range"),
        ([0, 0], [1], "2 indices and 1 classes"),
        ([[0]], [[1]], r"expected integer \[N\]"),
        ([0.5], [1], r"indices are float64 \[1\]"),
        ([0], [1.0], r"classes are float64 \[1\]"),
    ],
)
def test_indices_and_classes_are_checked(indices, classes, reason):
    with pytest.raises(ValueError, match=reason):
        Writer(TABLES).push(np.array(indices), np.array(classes))


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        (np.zeros(0, np.uint32), r"uint32 \[0\]"),
        (np.zeros((1, 2), np.uint32), r"uint32 \[1, 2\]"),
        (np.array([2**24 - 3, 1], np.int64), "int64"),
        (np.array([2**24 - 2, 1], np.uint32), r"sum to 16777215, expected 2\*\*24 - 2"),
        (np.array([2**31, 2**31, 2**24 - 3], np.uint32), "sum to"),
    ],
)
def test_tables_that_would_not_be_exact_are_refused(counts, reason):
    with pytest.raises(ValueError, match=reason):
        Tables([counts])
    with pytest.raises(ValueError, match="0 classes"):
        Tables([])


def test_tables_survive_a_process_pool():
    indices, classes = random_pass(50, 1)
    copied = pickle.loads(pickle.dumps(TABLES))

    assert Reader(encode([(indices, classes)]), copied).pull(classes).tolist() == indices.tolist()


def test_nothing_is_printed(capfd):
    Tables(FREQS)
    reader = Reader(encode([random_pass(50, 1)]), TABLES)
    reader.pull(random_pass(50, 1)[1])

    assert capfd.readouterr() == ("", "")
