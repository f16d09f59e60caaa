// A decoder of WebP lossless bitstreams: RFC 9649, section 3. Not the browser's, which shows pixels
// only through a canvas, and some browsers put noise into what is read from one.
//
// Pixels are 32-bit numbers, ARGB from the high byte down.

import {corrupt} from './errors.js';
import {invertTransform} from './vp8l_transforms.js';

const LITERALS = 256;
const LENGTH_CODES = 24;
const DISTANCE_CODES = 40;
const MAX_CODE_LENGTH = 15;
const ROOT_BITS = 8; // of a prefix code are looked up at once
const CODE_LENGTH_ORDER = [17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
const REPEATS = {16: [3, 2], 17: [3, 3], 18: [11, 7]}; // least count, bits of what is more
const [PREDICTOR, COLOR, , INDEXING] = [0, 1, 2, 3]; // types of transforms
// Where the first 120 distances lead, [columns, rows] back: RFC 9649, section 5.2.2.
const NEAR = [
  '0,1 1,0 1,1 -1,1 0,2 2,0 1,2 -1,2 2,1 -2,1 2,2 -2,2 0,3 3,0 1,3 -1,3 3,1 -3,1 2,3 -2,3',
  '3,2 -3,2 0,4 4,0 1,4 -1,4 4,1 -4,1 3,3 -3,3 2,4 -2,4 4,2 -4,2 0,5 3,4 -3,4 4,3 -4,3 5,0',
  '1,5 -1,5 5,1 -5,1 2,5 -2,5 5,2 -5,2 4,4 -4,4 3,5 -3,5 5,3 -5,3 0,6 6,0 1,6 -1,6 6,1 -6,1',
  '2,6 -2,6 6,2 -6,2 4,5 -4,5 5,4 -5,4 3,6 -3,6 6,3 -6,3 0,7 7,0 1,7 -1,7 5,5 -5,5 7,1 -7,1',
  '4,6 -4,6 6,4 -6,4 2,7 -2,7 7,2 -7,2 3,7 -3,7 7,3 -7,3 5,6 -5,6 6,5 -6,5 8,0 4,7 -4,7 7,4',
  '-7,4 8,1 8,2 6,6 -6,6 8,3 5,7 -5,7 7,5 -7,5 8,4 6,7 -6,7 7,6 -7,6 8,5 7,7 -7,7 8,6 8,7',
].flatMap((line) => line.split(' ').map((pair) => pair.split(',').map(Number)));

// Uint32Array [height * width]. Throws VqcodecError for a stream that cannot be decoded in full.
export function decodeVp8l(stream, width, height) {
  const bits = new BitReader(stream);
  bits.skip(40); // signature and sizes, which the caller has compared
  const transforms = [];
  let columns = width;
  while (bits.read(1)) {
    const transform = readTransform(bits, columns, height);
    if (transforms.some(({type}) => type === transform.type)) {
      throw fault('a transform comes twice');
    }
    transforms.push(transform);
    columns = transform.packedWidth ?? columns;
  }
  let pixels = readImage(bits, columns, height, true);
  for (const transform of transforms.reverse()) {
    pixels = invertTransform(transform, pixels, transform.width, height);
  }
  return pixels;
}

function fault(text) {
  return corrupt(`exact pixels cannot be decoded: ${text}`);
}

class BitReader {
  constructor(bytes) {
    Object.assign(this, {bytes, at: 0, window: 0, count: 0});
  }

  // Have at least 24 bits in the window, zeros behind the end.
  fill() {
    while (this.count <= 24) {
      this.window |= (this.bytes[this.at++] ?? 0) << this.count;
      this.count += 8;
    }
    // Behind the end by more than the window holds, bits were used that are not there.
    if (this.at > this.bytes.length + 4) throw fault('it is cut short');
  }

  skip(count) {
    for (; count > 0; count -= 8) this.read(Math.min(count, 8));
  }

  // At most 24 bits.
  read(count) {
    this.fill();
    const value = this.window & (2 ** count - 1);
    this.drop(count);
    return value;
  }

  drop(count) {
    this.window >>>= count;
    this.count -= count;
  }

  // Whether bits were used that the stream has not.
  get isPast() {
    return 8 * this.at - this.count > 8 * this.bytes.length;
  }
}

function readTransform(bits, width, height) {
  const type = bits.read(2);
  const transform = {type, width};
  if (type === PREDICTOR || type === COLOR) {
    transform.log2 = bits.read(3) + 2;
    transform.across = divideUp(width, transform.log2);
    const down = divideUp(height, transform.log2);
    transform.data = readImage(bits, transform.across, down, false);
  } else if (type === INDEXING) {
    const count = bits.read(8) + 1;
    transform.data = readImage(bits, count, 1, false);
    transform.log2 = count <= 2 ? 3 : count <= 4 ? 2 : count <= 16 ? 1 : 0;
    transform.packedWidth = divideUp(width, transform.log2);
  }
  return transform;
}

function divideUp(size, log2) {
  return Math.ceil(size / 2 ** log2);
}

// An entropy-coded image. isMain: it may have several groups of prefix codes.
function readImage(bits, width, height, isMain) {
  const hasCache = bits.read(1);
  const cacheBits = hasCache ? bits.read(4) : 0;
  if (hasCache && (cacheBits < 1 || cacheBits > 11)) {
    throw fault(`a color cache of ${cacheBits} bits`);
  }
  let groupOf = null;
  let groupCount = 1;
  if (isMain && bits.read(1)) {
    const log2 = bits.read(3) + 2;
    const across = divideUp(width, log2);
    const image = readImage(bits, across, divideUp(height, log2), false);
    const groups = image.map((argb) => (argb >>> 8) & 0xffff);
    groupCount = groups.reduce((most, group) => Math.max(most, group + 1), 1);
    groupOf = (x, y) => groups[(y >> log2) * across + (x >> log2)];
  }
  const cacheSize = cacheBits ? 2 ** cacheBits : 0;
  const sizes = [LITERALS + LENGTH_CODES + cacheSize, LITERALS, LITERALS, LITERALS, DISTANCE_CODES];
  const groups = [];
  for (let n = 0; n < groupCount; n++) groups.push(sizes.map((size) => readCode(bits, size)));
  return readPixels(bits, width, height, groups, groupOf, cacheBits);
}

function readPixels(bits, width, height, groups, groupOf, cacheBits) {
  const pixels = new Uint32Array(width * height);
  const cache = new Uint32Array(2 ** cacheBits);
  const shift = 32 - cacheBits;
  let cached = 0; // pixels before this one are in the cache
  const fillCache = (end) => {
    for (; cached < end; cached++) {
      cache[Math.imul(0x1e35a7bd, pixels[cached]) >>> shift] = pixels[cached];
    }
  };
  for (let at = 0; at < pixels.length; ) {
    const x = at % width;
    const [green, red, blue, alpha, distance] = groups[groupOf ? groupOf(x, (at - x) / width) : 0];
    const symbol = green.read(bits);
    if (symbol < LITERALS) {
      const [r, b, a] = [red.read(bits), blue.read(bits), alpha.read(bits)];
      pixels[at++] = (a << 24) | (r << 16) | (symbol << 8) | b;
    } else if (symbol < LITERALS + LENGTH_CODES) {
      const length = readValue(bits, symbol - LITERALS);
      const back = distanceOf(readValue(bits, distance.read(bits)), width);
      if (back > at || length > pixels.length - at) throw fault('a copy from outside');
      for (let n = 0; n < length; n++, at++) pixels[at] = pixels[at - back];
    } else {
      fillCache(at);
      pixels[at++] = cache[symbol - LITERALS - LENGTH_CODES];
    }
    if (bits.isPast) throw fault('it is cut short');
  }
  return pixels;
}

// A length or distance by its prefix symbol.
function readValue(bits, symbol) {
  if (symbol < 4) return symbol + 1;
  const extra = (symbol - 2) >> 1;
  return ((2 + (symbol & 1)) << extra) + bits.read(extra) + 1;
}

function distanceOf(code, width) {
  if (code > NEAR.length) return code - NEAR.length;
  const [columns, rows] = NEAR[code - 1];
  return Math.max(1, rows * width + columns);
}

function readCode(bits, size) {
  const lengths = new Uint8Array(size);
  if (bits.read(1)) {
    const count = bits.read(1) + 1;
    const symbols = [bits.read(bits.read(1) ? 8 : 1)];
    if (count === 2) symbols.push(bits.read(8));
    for (const symbol of symbols) {
      if (symbol >= size) throw fault(`symbol ${symbol} of ${size}`);
      lengths[symbol] = 1;
    }
    return new PrefixCode(lengths);
  }
  const inner = new Uint8Array(CODE_LENGTH_ORDER.length);
  const count = 4 + bits.read(4);
  for (let n = 0; n < count; n++) inner[CODE_LENGTH_ORDER[n]] = bits.read(3);
  const code = new PrefixCode(inner);
  let left = bits.read(1) ? 2 + bits.read(2 + 2 * bits.read(3)) : size; // symbols that are read
  if (left > size) throw fault(`${left} code lengths of ${size}`);
  let before = 8;
  for (let at = 0; at < size && left > 0; left--) {
    const symbol = code.read(bits);
    if (symbol < 16) {
      lengths[at++] = symbol;
      before = symbol || before;
      continue;
    }
    const [least, more] = REPEATS[symbol];
    const run = least + bits.read(more);
    if (run > size - at) throw fault('a run of code lengths is too long');
    if (symbol === 16) lengths.fill(before, at, at + run);
    at += run;
  }
  return new PrefixCode(lengths);
}

// A canonical prefix code. Of a single symbol no bit is read.
class PrefixCode {
  constructor(lengths) {
    const counts = new Int32Array(MAX_CODE_LENGTH + 1);
    for (const length of lengths) counts[length]++;
    counts[0] = 0;
    const used = counts.reduce((sum, count) => sum + count, 0);
    this.single = used === 1 ? lengths.findIndex((length) => length) : -1;
    if (used === 1) return;
    const room = counts.reduce((sum, count, length) => sum + count / 2 ** length, 0);
    if (room !== 1) throw fault('a prefix code is not complete');
    this.counts = counts;
    const next = new Int32Array(MAX_CODE_LENGTH + 2);
    for (let n = 1; n <= MAX_CODE_LENGTH; n++) next[n + 1] = next[n] + counts[n];
    this.symbols = new Uint16Array(used);
    const starts = next.slice();
    for (let s = 0; s < lengths.length; s++) if (lengths[s]) this.symbols[starts[lengths[s]]++] = s;
    this.root = null;
  }

  // For the next ROOT_BITS bits: symbol * 16 + length of its code, 0 for longer codes. Made when it
  // is first needed, for a stream may have more codes than it uses.
  rootTable() {
    const table = new Uint32Array(2 ** ROOT_BITS);
    let [code, at] = [0, 0];
    for (let length = 1; length <= ROOT_BITS; length++, code <<= 1) {
      for (let n = 0; n < this.counts[length]; n++, code++, at++) {
        const step = 2 ** length;
        for (let k = reversed(code, length); k < table.length; k += step) {
          table[k] = this.symbols[at] * 16 + length;
        }
      }
    }
    return table;
  }

  read(bits) {
    if (this.single >= 0) return this.single;
    bits.fill();
    this.root ??= this.rootTable();
    const entry = this.root[bits.window & (2 ** ROOT_BITS - 1)];
    if (entry) {
      bits.drop(entry & 15);
      return entry >> 4;
    }
    let [code, first, at] = [0, 0, 0];
    for (let length = 1; length <= MAX_CODE_LENGTH; length++) {
      code |= (bits.window >>> (length - 1)) & 1;
      const count = this.counts[length];
      if (code - first < count) {
        bits.drop(length);
        return this.symbols[at + code - first];
      }
      at += count;
      first = (first + count) << 1;
      code <<= 1;
    }
    throw fault('no such code'); // not of a complete one
  }
}

function reversed(code, length) {
  let found = 0;
  for (let n = 0; n < length; n++) found |= ((code >> n) & 1) << (length - 1 - n);
  return found;
}
