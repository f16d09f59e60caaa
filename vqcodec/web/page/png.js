// The grey PNG of an alpha plane. FORMAT.md, "Alpha". Not the browser's decoder, which may
// convert colours, and which Node has not.

import {crc32} from './checksums.js';
import {corrupt} from './errors.js';

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

// Uint8Array [height * width]: levels of `depth` bits as ones of 8. It refuses any other PNG, and a
// damaged one.
export async function readGreyPng(data, width, height, depth) {
  const bytes = depth > 8 ? 2 : 1;
  const start = new Uint8Array(29);
  start.set(SIGNATURE);
  start.set([0, 0, 0, 13, ...new TextEncoder().encode('IHDR')], 8);
  const view = new DataView(start.buffer);
  view.setUint32(16, width);
  view.setUint32(20, height);
  start[24] = 8 * bytes; // colour type, methods and interlacing are 0
  if (data.length < 33 || start.some((byte, n) => byte !== data[n])) {
    throw corrupt(`chunk ALPH is not a grey ${8 * bytes}-bit PNG of ${width}x${height} pixels`);
  }
  const rows = await inflate(imageData(data), (bytes * width + 1) * height);
  const levels = unfilter(rows, bytes * width, height, bytes);
  return bytes === 1 ? levels : ofEightBits(levels, 2 ** depth - 1);
}

// Levels of two bytes each, up to `highest`, rounded.
function ofEightBits(levels, highest) {
  const view = new DataView(levels.buffer);
  return Uint8Array.from({length: levels.length / 2}, (_, n) => {
    const level = view.getUint16(2 * n);
    if (level > highest) throw corrupt(`chunk ALPH has ${level}, expected at most ${highest}`);
    return Math.round((level * 255) / highest);
  });
}

// The zlib stream, in pieces.
function imageData(data) {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const pieces = [];
  for (let at = 8; at + 12 <= data.length; ) {
    const size = view.getUint32(at);
    const kind = String.fromCharCode(...data.subarray(at + 4, at + 8));
    const end = at + 8 + size;
    if (end + 4 > data.length) break;
    if (crc32(data.subarray(at + 4, end)) !== view.getUint32(end)) {
      throw corrupt(`chunk ALPH cannot be read: its ${kind} has another checksum`);
    }
    if (kind === 'IDAT') pieces.push(data.subarray(at + 8, end));
    if (kind === 'IEND') return pieces;
    at = end + 4;
  }
  throw corrupt('chunk ALPH cannot be read: it is cut short');
}

// Inflate to `size` bytes; what is more is not kept.
async function inflate(pieces, size) {
  const out = new Uint8Array(size);
  let at = 0;
  try {
    const reader = new Blob(pieces).stream().pipeThrough(new DecompressionStream('deflate'));
    for await (const piece of chunksOf(reader.getReader())) {
      out.set(piece.subarray(0, size - at), at);
      at += piece.length;
      if (at >= size) break;
    }
  } catch (error) {
    throw corrupt(`chunk ALPH cannot be inflated: ${error.message}`);
  }
  if (at < size) throw corrupt(`chunk ALPH holds ${at} bytes, expected ${size}`);
  return out;
}

async function* chunksOf(reader) {
  try {
    for (;;) {
      const {done, value} = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

// Undo the filters of the rows, of `width` bytes and `pixel` bytes a pixel: PNG, section 9.
function unfilter(rows, width, height, pixel) {
  const out = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const from = y * (width + 1);
    const filter = rows[from];
    if (filter > 4) throw corrupt(`chunk ALPH has filter ${filter}, expected 0..4`);
    for (let x = 0; x < width; x++) {
      const at = y * width + x;
      const left = x >= pixel ? out[at - pixel] : 0;
      const above = y ? out[at - width] : 0;
      const corner = x >= pixel && y ? out[at - width - pixel] : 0;
      out[at] = rows[from + 1 + x] + predicted(filter, left, above, corner);
    }
  }
  return out;
}

function predicted(filter, left, above, corner) {
  if (filter === 0) return 0;
  if (filter === 1) return left;
  if (filter === 2) return above;
  if (filter === 3) return (left + above) >> 1;
  const [a, b, c] = [left, above, corner].map((x) => Math.abs(left + above - corner - x));
  if (a <= b && a <= c) return left;
  return b <= c ? above : corner;
}
