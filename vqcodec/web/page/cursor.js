// Bounds-checked reading of untrusted bytes: little-endian numbers, varints, strings of bytes.

import {corrupt, VqcodecError} from './errors.js';

export class Cursor {
  // data: Uint8Array.
  constructor(data) {
    this.data = data;
    this.offset = 0;
  }

  get left() {
    return this.data.length - this.offset;
  }

  // The bytes read from offset `start` up to here.
  since(start) {
    return this.data.subarray(start, this.offset);
  }

  // Read `size` bytes; `what` names them in the error.
  take(size, what) {
    if (size > this.left) {
      const message = `expected ${size} bytes of ${what}, file ends after ${this.left}`;
      throw new VqcodecError('TruncatedError', message, this.offset);
    }
    this.offset += size;
    return this.data.subarray(this.offset - size, this.offset);
  }

  // Read an unsigned number of `size` bytes, at most 6.
  number(size, what) {
    return this.take(size, what).reduceRight((value, byte) => value * 256 + byte, 0);
  }

  // Read an unsigned LEB128 number below 2^32 in its shortest form.
  varint(what) {
    const start = this.offset;
    let value = 0;
    let byte = 128;
    for (let scale = 1; byte >= 128 && scale < 2 ** 35; scale *= 128) {
      byte = this.number(1, what);
      value += (byte & 127) * scale;
    }
    if (byte >= 128 || value >= 2 ** 32) throw corrupt(`${what} is not below 2**32`, start);
    if (byte === 0 && this.offset > start + 1) {
      throw corrupt(`${what} is not written in its shortest form`, start);
    }
    return value;
  }

  // Read `count` words: Uint32Array.
  words(count, what) {
    const bytes = this.take(4 * count, what);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return Uint32Array.from({length: count}, (_, n) => view.getUint32(4 * n, true));
  }

  check(found, expected, what, start) {
    if (found !== expected) {
      const [a, b] = [found, expected].map((x) => `0x${x.toString(16)}`);
      throw corrupt(`${what} has checksum ${a}, expected ${b}`, start);
    }
  }
}
