// Alpha and metadata of a file's chunks. FORMAT.md, "Chunks".

import {corrupt} from './errors.js';
import {readGreyPng} from './png.js';

const METADATA = {iccp: 'ICC profile', exif: 'EXIF', xmpp: 'XMP'};
const MAX_METADATA_BYTES = 2 ** 24;

// Uint8Array [H * W], or null: all is opaque.
export async function readAlpha(chunks, header) {
  const found = only(chunks, 'ALPH');
  return found && readGreyPng(found, header.width, header.height, header.depth);
}

// What there is: {name, bytes} each, as they are in the file.
export function metadataFacts(chunks) {
  const found = Object.entries(METADATA).map(([kind, name]) => ({name, data: only(chunks, kind)}));
  return found.filter(({data}) => data).map(({name, data}) => ({name, bytes: data.length}));
}

// Whether the pixels are numbers of Display P3, as the profile's own name says.
export async function isDisplayP3(chunks) {
  const data = only(chunks, 'iccp');
  if (!data) return false;
  const text = new TextDecoder('latin1').decode(await unpackMetadata(data));
  return text.replaceAll('\0', '').includes('Display P3');
}

function only(chunks, kind) {
  const found = chunks.filter((chunk) => chunk.kind === kind);
  if (found.length > 1) throw corrupt(`two chunks ${kind}, expected at most one`);
  return found.length ? found[0].data : null;
}

async function unpackMetadata(data) {
  if (data[0] > 1) throw corrupt(`metadata is written in method ${data[0]}, expected 0 or 1`);
  if (data[0] === 0) return data.subarray(1);
  const stream = new Blob([data.subarray(1)]).stream();
  const pieces = [];
  let size = 0;
  try {
    const reader = stream.pipeThrough(new DecompressionStream('deflate')).getReader();
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      pieces.push(next.value);
      size += next.value.length;
      if (size > MAX_METADATA_BYTES) throw new Error(`more than ${MAX_METADATA_BYTES} bytes`);
    }
  } catch (error) {
    throw corrupt(`metadata cannot be inflated: ${error.message}`);
  }
  return new Uint8Array(await new Blob(pieces).arrayBuffer());
}
