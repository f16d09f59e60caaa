// The container: bytes of a .vqc file -> header, the parts of its tiles, chunks. FORMAT.md,
// "Layout". Every byte is checked.

import {crc16, crc32} from './checksums.js';
import {Cursor} from './cursor.js';
import {corrupt, unsupported} from './errors.js';
import {readExact} from './exact_part.js';
import {MAX_PIXELS, readHeader, tileGrid, tilePixels} from './header.js';

const MAX_WORDS_PER_LATENT = 2048;
const MAX_CHUNK_BYTES = 2 ** 26;
const CRITICAL_KINDS = ['ALPH', 'VEND'];
const EXACT_MARK = 2 ** 31; // added to a tile's number in the checksum of its exact part

// {header, tiles, exact, chunks} of a whole file. tiles: {coarse, fine}, the coder words of each,
// none if all pixels are exact; exact: see readExact, of each tile, none if the file has none;
// chunks: {kind, data}.
export function unpack(bytes, maxPixels = MAX_PIXELS) {
  const cursor = new Cursor(bytes);
  const header = readHeader(cursor, maxPixels);
  const head = cursor.since(0);
  const [tiles, exact] = [[], []];
  for (const [number, tile] of tileGrid(header).entries()) {
    if (header.learned) tiles.push(readTile(cursor, contextOf(head, number), tile));
    if (!header.exact) continue;
    const context = contextOf(head, EXACT_MARK + number);
    exact.push(readExact(cursor, context, tilePixels(header, tile), header));
  }
  const chunks = header.chunked ? readChunks(cursor) : [];
  if (cursor.left) throw corrupt(`${cursor.left} bytes behind the end of the file`, cursor.offset);
  return {header, tiles, exact, chunks};
}

// What the checksums of a part start with: parts of another file or tile do not pass.
function contextOf(head, number) {
  const context = new Uint8Array(head.length + 4);
  context.set(head);
  new DataView(context.buffer).setUint32(head.length, number, true);
  return context;
}

function readTile(cursor, context, tile) {
  const start = cursor.offset;
  const limit = tile.width * tile.height * MAX_WORDS_PER_LATENT;
  const [coarseCount, fineCount] = ['coarse', 'fine'].map((name) => {
    const at = cursor.offset;
    const count = cursor.varint(`number of ${name} words`);
    if (count > limit) throw corrupt(`${count} ${name} words, expected at most ${limit}`, at);
    return count;
  });
  const sizes = cursor.since(start);
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
