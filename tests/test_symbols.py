"""Index arrays <-> symbols, escapes and all."""

import numpy as np
import pytest
import torch

from vqcodec.config import QuantizerConfig
from vqcodec.entropy import freqs, symbols
from vqcodec.entropy.rans import Reader
from vqcodec.errors import CorruptError
from vqcodec.nn.quantizer import Codebooks, gaussian_probabilities

CONFIG = QuantizerConfig()
PAIR_ROW = CONFIG.classes


@pytest.fixture(scope="module")
def tables():
    rows = gaussian_probabilities(CONFIG)
    return symbols.make_tables(tuple(freqs.from_probabilities(p.numpy()) for p in rows))


def some_indices(seed, spread):
    """(index, rows), int64 [M, c] as the quantiser gives them, with escapes if spread is big."""
    generator = torch.Generator().manual_seed(seed)
    codebooks = Codebooks(CONFIG).requires_grad_(False)
    log_scale = torch.rand(1, 8, 9, 11, generator=generator) * 10 - 3.2
    classes = codebooks.classify(log_scale)
    r = torch.randn(log_scale.shape, generator=generator) * 2.0**log_scale * spread
    chosen = codebooks.assign(r, classes, torch.ones(1, 8, 1, 1))
    flat = [v.permute(0, 2, 3, 1).reshape(-1, 8).numpy() for v in (chosen.index, chosen.row)]
    return flat[0], flat[1]


@pytest.mark.parametrize("spread", [1.0, 20.0, 2000.0])
def test_symbols_round_trip(tables, spread):
    index, rows = some_indices(1, spread)
    passes = symbols.to_passes(index, rows, tables.sizes, PAIR_ROW)
    reader = Reader(symbols.write(passes, tables), tables)
    back = symbols.read(reader, rows, tables.sizes, PAIR_ROW)
    reader.finish()

    assert np.array_equal(back, index)
    assert (len(passes) > 1) == (spread > 1)


def test_numbers_that_no_encoder_writes_are_refused(tables):
    rows = np.zeros((1, 2), dtype=np.int64)
    escape = int(tables.sizes[0]) - 1
    digits = len(tables.sizes) - 1
    long = [(np.array([escape, 0], dtype=np.int32), rows[0])]
    long += [(np.array([255], dtype=np.int32), np.array([digits]))] * 3
    reader = Reader(symbols.write(long, tables), tables)

    with pytest.raises(CorruptError, match="escape"):
        symbols.read(reader, rows, tables.sizes, PAIR_ROW)


def test_a_number_that_is_spelled_longer_than_needed_is_refused(tables):
    rows = np.zeros((1, 1), dtype=np.int64)
    escape = int(tables.sizes[0]) - 1
    digits = np.array([len(tables.sizes) - 1])
    passes = [
        (np.array([value], dtype=np.int32), row)
        for value, row in ((escape, rows[0]), (130, digits), (0, digits))
    ]
    reader = Reader(symbols.write(passes, tables), tables)

    with pytest.raises(CorruptError, match="longer than needed"):
        symbols.read(reader, rows, tables.sizes, PAIR_ROW)


def test_check_refuses_indices_that_do_not_fit(tables):
    index, rows = some_indices(2, 1.0)
    symbols.check(index, rows, tables.sizes, PAIR_ROW)
    negative, second, huge = index.copy(), index.copy(), index.copy()
    at = tuple(np.argwhere(rows >= 0)[0])
    negative[at] = -1
    second[tuple(np.argwhere(rows < 0)[0])] = 0
    huge[at] = 2**20

    for bad in (negative, second, huge):
        with pytest.raises(ValueError, match="index"):
            symbols.check(bad, rows, tables.sizes, PAIR_ROW)
