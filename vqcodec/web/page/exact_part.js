// The exact part of a tile: which blocks of it are exact, and a stream of their pixels. FORMAT.md,
// "Exact parts".

import {crc32} from './checksums.js';
import {corrupt, unsupported} from './errors.js';
import {BYTE_DEPTH} from './header.js';
import {decodeVp8l} from './vp8l.js';

const MAX_SIDE = 2 ** 14;
const [NOTHING, WEBP] = [0, 1]; // coders
const SIGNATURE = 0x2f;

// {stream, blockLog2, runs} of a tile, in pixels; null: nothing of it is exact. blockLog2 is null
// where all is.
export function readExact(cursor, context, tile, header) {
  const start = cursor.offset;
  const found = readBody(cursor, tile, header);
  const check = crc32(context, cursor.since(start));
  cursor.check(check, cursor.number(4, 'exact checksum'), 'exact part', start);
  if (!found) {
    if (!header.learned) throw corrupt('tile has neither words nor exact pixels', start);
    return null;
  }
  if (Math.max(tile.width, tile.height) > MAX_SIDE) {
    throw corrupt(`tile with exact blocks is ${tile.width}x${tile.height}`, start);
  }
  if (streamStart(tile).some((byte, n) => byte !== found.stream[n])) {
    throw corrupt(`exact pixels are not ${tile.width}x${tile.height} of WebP lossless`, start);
  }
  return found;
}

// The only first bytes of a stream of this size.
function streamStart({width, height}) {
  const bytes = new Uint8Array(5);
  bytes[0] = SIGNATURE;
  new DataView(bytes.buffer).setUint32(1, (width - 1) | ((height - 1) << 14), true);
  return bytes;
}

function readBody(cursor, tile, header) {
  const start = cursor.offset;
  const coder = cursor.number(1, 'coder of exact blocks');
  if (coder > WEBP) {
    throw unsupported(`coder of exact blocks is ${coder}, expected 0 or 1`, start);
  }
  if (coder === NOTHING) return null;
  if (header.depth !== BYTE_DEPTH) {
    throw unsupported(`coder ${coder} of exact blocks at ${header.depth} bits, it has 8`, start);
  }
  const map = header.learned ? readMap(cursor, tile) : {blockLog2: null, runs: []};
  const sizeAt = cursor.offset;
  const size = cursor.varint('size of exact pixels');
  const limit = 4 * tile.width * tile.height + 4096;
  if (size > limit) throw corrupt(`exact pixels have ${size} bytes, at most ${limit}`, sizeAt);
  return {...map, stream: cursor.take(size, 'exact pixels')};
}

function blocksOf(tile, blockLog2) {
  return [tile.width, tile.height].map((side) => Math.ceil(side / 2 ** blockLog2));
}

function readMap(cursor, tile) {
  const start = cursor.offset;
  const blockLog2 = cursor.number(1, 'size of exact blocks');
  if (blockLog2 < 4 || blockLog2 > 8) {
    throw corrupt(`size of exact blocks is ${blockLog2}, expected 4..8`, start);
  }
  const [across, down] = blocksOf(tile, blockLog2);
  const runs = [];
  for (let left = across * down; left > 0; ) {
    const run = cursor.varint('run of blocks');
    if (run > left || (run === 0 && runs.length)) {
      throw corrupt(`run of blocks is ${run}, expected 1..${left}`, start);
    }
    runs.push(run);
    left -= run;
  }
  if (runs.length === 1) throw corrupt('no block is exact, expected a part that says so', start);
  return {blockLog2, runs};
}

// Which pixels of a tile are exact: a function of their column and row in it.
function coverOf({blockLog2, runs}, tile) {
  if (blockLog2 === null) return () => true;
  const [across, down] = blocksOf(tile, blockLog2);
  const map = new Uint8Array(across * down);
  let at = 0;
  for (const [n, run] of runs.entries()) map.fill(n & 1, at, (at += run));
  for (let n = across; n < map.length; n++) map[n] ^= map[n - across];
  return (x, y) => map[(y >> blockLog2) * across + (x >> blockLog2)];
}

// The exact pixels of a picture, put over strips that come from the top.
export class ExactLayer {
  // parts: of each tile. tiles: their rectangles in pixels.
  constructor(parts, tiles, grey) {
    this.grey = grey;
    this.waiting = parts.map((part, n) => ({part, tile: tiles[n]})).filter(({part}) => part);
    this.open = []; // tiles that the last strip reached
  }

  // strip: {y, height, data: RGBA}. width: of the picture. Throws VqcodecError.
  apply(strip, width) {
    const bottom = strip.y + strip.height;
    while (this.waiting.length && this.waiting[0].tile.y < bottom) {
      const {part, tile} = this.waiting.shift();
      const pixels = decodeVp8l(part.stream, tile.width, tile.height);
      this.open.push({tile, pixels, covers: coverOf(part, tile)});
    }
    for (const item of this.open) this.put(item, strip, width);
    this.open = this.open.filter(({tile}) => tile.y + tile.height > bottom);
  }

  put({tile, pixels, covers}, strip, width) {
    const top = Math.max(tile.y, strip.y);
    const bottom = Math.min(tile.y + tile.height, strip.y + strip.height);
    for (let y = top; y < bottom; y++) {
      const from = (y - tile.y) * tile.width;
      const to = 4 * ((y - strip.y) * width + tile.x);
      for (let x = 0; x < tile.width; x++) {
        if (!covers(x, y - tile.y)) continue;
        const argb = pixels[from + x];
        const green = (argb >> 8) & 255;
        strip.data[to + 4 * x] = this.grey ? green : (argb >> 16) & 255;
        strip.data[to + 4 * x + 1] = green;
        strip.data[to + 4 * x + 2] = this.grey ? green : argb & 255;
        strip.data[to + 4 * x + 3] = 255;
      }
    }
  }
}
