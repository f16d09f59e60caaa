// The container: bytes of a .vqc file -> header, coder words of its tiles, chunks. FORMAT.md,
// "Layout". Limits are checked before anything of their size is allocated.

import {crc16, crc32} from './checksums.js';
import {Cursor} from './cursor.js';
import {corrupt, unsupported, VqcodecError} from './errors.js';

export const STRIDE = 16; // pixels a latent, each way
export const MAX_PIXELS = 2 ** 26;
const MAGIC = [0x89, 0x56, 0x51, 0x43];
const FLAGS_AT = 4;
const TILED = 1;
const CHUNKED = 2;
const GREY = 4;
const MAX_SIDE = 2 ** 18;
const MAX_LEVEL = 63;
const TILE_PIXELS = 2 ** 14; // what one of several tiles counts as
const MAX_WORDS_PER_LATENT = 2048;
const MAX_CHUNK_BYTES = 2 ** 26;
const CRITICAL_KINDS = ['ALPH', 'VEND'];

// {header, tiles: [{coarse, fine}], chunks: [{kind, data}]} of a whole file.
export function unpack(bytes, maxPixels = MAX_PIXELS) {
  const cursor = new Cursor(bytes);
  const header = readHeader(cursor, maxPixels);
  const head = cursor.since(0);
  const tiles = tileGrid(header).map((tile, number) => readTile(cursor, head, tile, number));
  const chunks = header.chunked ? readChunks(cursor) : [];
  if (cursor.left) throw corrupt(`${cursor.left} bytes behind the end of the file`, cursor.offset);
  return {header, tiles, chunks};
}

// {level, modelId, width, height, tileLog2, grey, chunked}.
export function readHeader(cursor, maxPixels) {
  const start = cursor.data.subarray(0, 4);
  if (start.some((byte, n) => byte !== MAGIC[n])) {
    throw new VqcodecError('NotVqcError', 'not a .vqc file');
  }
  cursor.take(4, 'magic');
  const first = cursor.number(1, 'version');
  const flags = first & 15;
  if (first >> 4 !== 1) throw unsupported(`format version ${first >> 4}, expected 1`, FLAGS_AT);
  const level = cursor.number(1, 'level');
  const modelId = Array.from(cursor.take(8, 'model id'), hex).join('');
  const width = cursor.varint('width');
  const height = cursor.varint('height');
  const tileLog2 = flags & TILED ? cursor.number(1, 'tile_log2') : null;
  const found = crc16(cursor.since(0));
  cursor.check(found, cursor.number(2, 'header checksum'), 'header', 0);
  if (flags & ~(TILED | CHUNKED | GREY)) throw unsupported(`flags ${flags}`, FLAGS_AT);
  const header = {level, modelId, width, height, tileLog2};
  header.grey = Boolean(flags & GREY);
  header.chunked = Boolean(flags & CHUNKED);
  checkHeader(header, maxPixels);
  return header;
}

function hex(byte) {
  return byte.toString(16).padStart(2, '0');
}

function tooLarge(text) {
  return new VqcodecError('ImageTooLargeError', text);
}

function checkHeader(header, maxPixels) {
  const {level, width, height, tileLog2} = header;
  const size = `picture is ${width}x${height} pixels`;
  if (Math.max(width, height) > MAX_SIDE) {
    throw tooLarge(`${size}, the format allows ${MAX_SIDE} per side`);
  }
  if (Math.max(width, STRIDE) * Math.max(height, STRIDE) > maxPixels) {
    throw tooLarge(`${size}, the limit of this page is ${maxPixels}`);
  }
  if (Math.min(width, height) < 1) throw corrupt(`bad header: ${size}`, FLAGS_AT);
  if (level > MAX_LEVEL) throw corrupt(`bad header: level is ${level}`, FLAGS_AT);
  if (tileLog2 === null) return;
  if (tileLog2 < 2 || tileLog2 > 8) {
    throw corrupt(`bad header: tile_log2 is ${tileLog2}, expected 2..8`, FLAGS_AT);
  }
  const {down, across} = tileCounts(header);
  if (down * across === 1) throw corrupt('bad header: a tile grid of one tile', FLAGS_AT);
  if (down * across * TILE_PIXELS > maxPixels) {
    throw tooLarge(`picture is in ${down * across} tiles, too many for this page`);
  }
}

// Height and width in latents.
export function gridOf(header) {
  return [header.height, header.width].map((side) => Math.ceil(side / STRIDE));
}

function tileCounts(header) {
  const [height, width] = gridOf(header);
  const side = header.tileLog2 === null ? Math.max(height, width) : 2 ** header.tileLog2;
  return {side, down: Math.ceil(height / side), across: Math.ceil(width / side)};
}

// The rectangle {x, y, width, height} of each tile in latents, in raster order.
export function tileGrid(header) {
  const [height, width] = gridOf(header);
  const {side, down, across} = tileCounts(header);
  return Array.from({length: down * across}, (_, n) => {
    const y = Math.floor(n / across) * side;
    const x = (n % across) * side;
    return {x, y, width: Math.min(side, width - x), height: Math.min(side, height - y)};
  });
}

function readTile(cursor, head, tile, number) {
  const start = cursor.offset;
  const limit = tile.width * tile.height * MAX_WORDS_PER_LATENT;
  const [coarseCount, fineCount] = ['coarse', 'fine'].map((name) => {
    const at = cursor.offset;
    const count = cursor.varint(`number of ${name} words`);
    if (count > limit) throw corrupt(`${count} ${name} words, expected at most ${limit}`, at);
    return count;
  });
  const sizes = cursor.since(start);
  const context = new Uint8Array(head.length + 4);
  context.set(head);
  new DataView(context.buffer).setUint32(head.length, number, true);
  const expected = cursor.number(2, 'tile checksum');
  const wordsAt = cursor.offset;
  const coarse = cursor.words(coarseCount, 'coarse words');
  const found = crc16(context, sizes, cursor.since(wordsAt));
  cursor.check(found, expected, 'coarse segment', start);
  const fine = cursor.words(fineCount, 'fine words');
  const whole = crc32(context, cursor.since(start));
  cursor.check(whole, cursor.number(4, 'tile checksum'), 'tile', start);
  return {coarse, fine};
}

function readChunks(cursor) {
  const chunks = [];
  for (;;) {
    const start = cursor.offset;
    const chunk = readChunk(cursor);
    if (chunk.kind !== 'VEND') {
      chunks.push(chunk);
      continue;
    }
    if (chunk.data.length) throw corrupt('end chunk is not empty', start);
    if (!chunks.length) throw corrupt('flags announce chunks, expected one', start);
    return chunks;
  }
}

function readChunk(cursor) {
  const start = cursor.offset;
  const kind = String.fromCharCode(...cursor.take(4, 'chunk kind'));
  if (!/^[A-Za-z]{4}$/.test(kind)) {
    throw corrupt(`chunk kind is ${JSON.stringify(kind)}, expected four ASCII letters`, start);
  }
  const size = cursor.varint('chunk length');
  if (size > MAX_CHUNK_BYTES) throw corrupt(`chunk has ${size} bytes`, start);
  const data = cursor.take(size, 'chunk data');
  const found = crc32(cursor.since(start));
  cursor.check(found, cursor.number(4, 'chunk checksum'), `chunk ${kind}`, start);
  if (kind[0] < 'a' && !CRITICAL_KINDS.includes(kind)) {
    throw unsupported(`unknown critical chunk ${kind}`, start);
  }
  return {kind, data};
}
