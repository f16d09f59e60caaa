// Codebooks and tables of a model, and a pass's indices out of a payload. FORMAT.md, "Codebooks
// and tables" and "Symbols". Integers only.
//
// A pass is flat, [M * n]: M positions in raster order, n channels each, n even. `rows` are the
// numbers of tables, -1 for the second channel of a pair.

import {corrupt} from './errors.js';

const STEP = 64; // units of a codeword in a step
const DIGITS = 256;
const MAX_ROUNDS = 3;
const NUMBER_LIMIT = 2 ** 18;

export class Codebooks {
  // tables: of the model, {name: {data, shape}}. quantizer: of its config.
  constructor(tables, quantizer) {
    this.quantizer = quantizer;
    this.side = quantizer.pair_classes / quantizer.pair_merge;
    this.range = tables.scalar_range.data; // M of each class
    this.sizes = tables.sizes.data; // K of each table
    this.scalars = tables['codebooks.scalar_words'];
    this.pairs = tables['codebooks.pair_words'];
    this.starts = new Int32Array(this.sizes.length); // where each table's edges begin
    this.edges = this.leftEdges(tables.freqs.data);
    this.digitEdges = Int32Array.from({length: DIGITS + 1}, (_, n) => n * 2 ** 16);
  }

  leftEdges(freqs) {
    const edges = new Int32Array(freqs.length + this.sizes.length);
    let from = 0;
    let to = 0;
    for (const [row, size] of this.sizes.entries()) {
      this.starts[row] = to++;
      for (let k = 0; k < size; k++, to++) edges[to] = edges[to - 1] + freqs[from++] + 1;
    }
    return edges;
  }

  // Make rows of the classes of scale in an Int32Array, in place.
  classesToRows(classes) {
    const {classes: count, pair_classes: limit, pair_merge: merge} = this.quantizer;
    for (let j = 0; j < classes.length; j += 2) {
      const [a, b] = [classes[j], classes[j + 1]];
      if (a < limit && b < limit) {
        classes[j] = count + Math.floor(a / merge) * this.side + Math.floor(b / merge);
        classes[j + 1] = -1;
      }
    }
  }

  // The indices of a pass: Int32Array, -1 where none is coded.
  read(coder, rows) {
    const indices = new Int32Array(rows.length).fill(-1);
    const escaped = [];
    for (const j of this.inOrder(rows)) {
      const row = rows[j];
      const size = this.sizes[row];
      indices[j] = size > 1 ? coder.pull(this.edges, this.starts[row], size) : 0;
      if (indices[j] !== size - 1) continue;
      escaped.push(j);
      if (row >= this.quantizer.classes) {
        indices[j + 1] = 0;
        escaped.push(j + 1);
      }
    }
    if (escaped.length) this.readNumbers(coder, indices, Int32Array.from(escaped).sort());
    return indices;
  }

  // The places of coded indices, table by table, those of a table in their order.
  inOrder(rows) {
    const next = new Int32Array(this.sizes.length + 1);
    for (const row of rows) if (row >= 0) next[row + 1]++;
    for (let row = 1; row < next.length; row++) next[row] += next[row - 1];
    const order = new Int32Array(next[next.length - 1]);
    for (let j = 0; j < rows.length; j++) if (rows[j] >= 0) order[next[rows[j]]++] = j;
    return order;
  }

  // Add the numbers that escapes spell to the indices at `places`.
  readNumbers(coder, indices, places) {
    const numbers = new Map();
    let open = places;
    for (let round = 0; open.length; round++) {
      if (round === MAX_ROUNDS) throw corrupt('an escape spells a number of too many digits');
      open = open.filter((place) => {
        const digit = coder.pull(this.digitEdges, 0, DIGITS);
        if (round && digit === 0) throw corrupt('an escape spells a number longer than needed');
        numbers.set(place, (numbers.get(place) ?? 0) + (digit & 127) * 128 ** round);
        return digit >= 128;
      });
    }
    for (const [place, number] of numbers) {
      if (number >= NUMBER_LIMIT) {
        throw corrupt(`an escape spells ${number}, expected less than ${NUMBER_LIMIT}`);
      }
      indices[place] += number;
    }
  }

  // What the index at place j stands for, in 2^-6 steps.
  value(indices, rows, j) {
    const {classes} = this.quantizer;
    const first = rows[j] < 0 ? j - 1 : j; // of a pair
    const row = rows[first];
    const beyond = indices[first] - (this.sizes[row] - 1);
    if (row < classes) {
      if (beyond < 0) return this.scalars.data[row * this.scalars.shape[1] + indices[j]];
      const steps = this.range[row] + 1 + Math.floor(beyond / 2);
      return beyond % 2 ? -STEP * steps : STEP * steps;
    }
    if (beyond >= 0) return STEP * unzigzag(j === first ? beyond : indices[j]);
    const codeword = (row - classes) * this.pairs.shape[1] + indices[first];
    return this.pairs.data[2 * codeword + (j - first)];
  }
}

function unzigzag(e) {
  return e % 2 ? -(e + 1) / 2 : e / 2;
}
