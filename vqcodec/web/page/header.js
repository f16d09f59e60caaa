// The header of a .vqc file, and its grid of tiles. FORMAT.md, "Layout". Limits are checked before
// anything of their size is allocated.

import {crc16} from './checksums.js';
import {corrupt, unsupported, VqcodecError} from './errors.js';

export const STRIDE = 16; // pixels a latent, each way
export const MAX_PIXELS = 2 ** 26;
export const BYTE_DEPTH = 8;
const MAGIC = [0x89, 0x56, 0x51, 0x43];
const FLAGS_AT = 4;
const [TILED, CHUNKED, GREY] = [1, 2, 4]; // flags
const [EXACT, UNLEARNED, DEPTH, CICP] = [1, 2, 4, 8]; // features of version 2
const MAX_SIDE = 2 ** 18;
const MAX_LEVEL = 63;
const MAX_DEPTH = 16;
const TILE_PIXELS = 2 ** 14; // what one of several tiles counts as

// {level, modelId, width, height, tileLog2, grey, chunked, exact, learned, depth, cicp}: tileLog2
// is null for one tile, cicp null if the colour space is not given by numbers.
export function readHeader(cursor, maxPixels) {
  const [version, flags] = readVersion(cursor);
  const header = {level: cursor.number(1, 'level')};
  header.modelId = Array.from(cursor.take(8, 'model id'), hex).join('');
  header.width = cursor.varint('width');
  header.height = cursor.varint('height');
  header.tileLog2 = flags & TILED ? cursor.number(1, 'tile_log2') : null;
  Object.assign(header, readFeatures(cursor, version));
  const found = crc16(cursor.since(0));
  cursor.check(found, cursor.number(2, 'header checksum'), 'header', 0);
  if (flags & ~(TILED | CHUNKED | GREY)) throw unsupported(`flags ${flags}`, FLAGS_AT);
  header.grey = Boolean(flags & GREY);
  header.chunked = Boolean(flags & CHUNKED);
  checkSize(header, maxPixels);
  const fault = faultOf(header);
  if (fault) throw corrupt(`bad header: ${fault}`, FLAGS_AT);
  checkTiles(header, maxPixels);
  return header;
}

function readVersion(cursor) {
  const start = cursor.data.subarray(0, 4);
  if (start.some((byte, n) => byte !== MAGIC[n])) {
    throw new VqcodecError('NotVqcError', 'not a .vqc file');
  }
  cursor.take(4, 'magic');
  const byte = cursor.number(1, 'version');
  const [version, flags] = [byte >> 4, byte & 15];
  if (version !== 1 && version !== 2) {
    throw unsupported(`format version ${version}, expected 1 or 2`, FLAGS_AT);
  }
  return [version, flags];
}

function readFeatures(cursor, version) {
  const found = {exact: false, learned: true, depth: BYTE_DEPTH, cicp: null, featureless: false};
  if (version === 1) return found;
  const start = cursor.offset;
  const features = cursor.number(1, 'features');
  if (features & ~(EXACT | UNLEARNED | DEPTH | CICP)) {
    throw unsupported(`features ${features}, expected only bits 0 to 3`, start);
  }
  found.exact = Boolean(features & EXACT);
  found.learned = !(features & UNLEARNED);
  if (features & DEPTH) found.depth = cursor.number(1, 'depth');
  if (features & CICP) found.cicp = [...cursor.take(4, 'cicp')];
  found.featureless = !features || (Boolean(features & DEPTH) && found.depth === BYTE_DEPTH);
  return found;
}

function hex(byte) {
  return byte.toString(16).padStart(2, '0');
}

function tooLarge(text) {
  return new VqcodecError('ImageTooLargeError', text);
}

function checkSize({width, height}, maxPixels) {
  const size = `picture is ${width}x${height} pixels`;
  if (Math.max(width, height) > MAX_SIDE) {
    throw tooLarge(`${size}, the format allows ${MAX_SIDE} per side`);
  }
  if (Math.max(width, STRIDE) * Math.max(height, STRIDE) > maxPixels) {
    throw tooLarge(`${size}, the limit of this page is ${maxPixels}`);
  }
}

// What no writer writes, or an empty text.
function faultOf(header) {
  const {width, height, level, tileLog2, exact, learned, depth, cicp} = header;
  if (Math.min(width, height) < 1) return `size is ${width}x${height}`;
  if (level > MAX_LEVEL) return `level is ${level}, expected 0..${MAX_LEVEL}`;
  if (header.featureless) return 'features that say nothing, expected none';
  if (!learned && !exact) return 'neither learned streams nor exact parts, expected one of them';
  if (!learned && (level || /[^0]/.test(header.modelId))) {
    return 'model id and level without learned streams, expected zeros';
  }
  if (depth < BYTE_DEPTH || depth > MAX_DEPTH) {
    return `depth is ${depth}, expected ${BYTE_DEPTH}..${MAX_DEPTH}`;
  }
  if (cicp && cicp[3] > 1) return `cicp is ${cicp}, expected 0 or 1 at its end`;
  if (tileLog2 === null) return '';
  if (tileLog2 < 2 || tileLog2 > 8) return `tile_log2 is ${tileLog2}, expected 2..8`;
  const {down, across} = tileCounts(header);
  return down * across === 1 ? 'a tile grid of one tile, expected a file without tiles' : '';
}

function checkTiles(header, maxPixels) {
  const {down, across} = tileCounts(header);
  const count = down * across;
  if (count > 1 && count * TILE_PIXELS > maxPixels) {
    throw tooLarge(`picture is in ${count} tiles, too many for this page`);
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

// A tile in latents -> its pixels; those of the last ones end where the picture does.
export function tilePixels(header, tile) {
  const [x, y] = [STRIDE * tile.x, STRIDE * tile.y];
  const width = Math.min(STRIDE * tile.width, header.width - x);
  return {x, y, width, height: Math.min(STRIDE * tile.height, header.height - y)};
}
