// rANS: coder words -> indices, by integer frequencies. FORMAT.md, "The payload".
//
// The state, below 2^64, is two numbers: high * 2^32 + low. All products stay below 2^53, so that
// float64 arithmetic is exact.

import {corrupt} from './errors.js';

const PRECISION = 2 ** 24;
const HALF = 2 ** 20; // the state's upper part, below 2^40, is multiplied in two halves
const WORD = 2 ** 32;

export class RansReader {
  // words: Uint32Array.
  constructor(words) {
    if (words.length && words[words.length - 1] === 0) {
      throw corrupt(`payload of ${words.length} words ends in a zero word`);
    }
    this.words = words;
    this.left = words.length;
    this.high = 0;
    this.low = 0;
    this.refill();
    this.refill();
  }

  refill() {
    if (this.high === 0 && this.left) {
      this.high = this.low;
      this.low = this.words[--this.left];
    }
  }

  // The index whose interval of `edges` (the left edges of a table, with 2^24 behind the last one,
  // from `first` on, `count` indices) holds the state.
  pull(edges, first, count) {
    const q = this.low % PRECISION;
    let start = first;
    let stop = first + count;
    while (stop - start > 1) {
      const middle = (start + stop) >> 1;
      if (edges[middle] <= q) start = middle;
      else stop = middle;
    }
    const width = edges[start + 1] - edges[start];
    const upper = this.high * 256 + Math.floor(this.low / PRECISION);
    const lower = (upper % HALF) * width + q - edges[start];
    const rest = Math.floor(upper / HALF) * width + Math.floor(lower / HALF); // in units of 2^20
    this.high = Math.floor(rest / 4096);
    this.low = (rest % 4096) * HALF + (lower % HALF);
    this.refill();
    return start - first;
  }

  // rANS is a bijection: the right words leave nothing behind.
  finish() {
    if (this.high || this.low || this.left) {
      throw corrupt(`${this.left} words are left in the payload, expected none`);
    }
  }
}
