// The files of this site, over HTTP.

import {VqcodecError} from './errors.js';

// progress: called with the bytes that came so far, and those that are to come in all.
export class Site {
  constructor(base, progress) {
    Object.assign(this, {base, progress, received: 0, expected: 0});
  }

  // Say that a file of so many bytes will be asked for.
  expect(bytes) {
    if (this.received >= this.expected) this.received = this.expected = 0;
    this.expected += bytes;
  }

  // The bytes of a file; null if there is none.
  async get(path) {
    const response = await reach(new URL(path, this.base), path);
    if (response.status === 404) return null;
    check(response, path);
    const pieces = [];
    for await (const piece of piecesOf(response.body)) {
      pieces.push(piece);
      this.received += piece.length;
      this.progress(this.received, this.expected);
    }
    return new Uint8Array(await new Blob(pieces).arrayBuffer());
  }
}

// The bytes of any address; `name` is for messages.
export async function download(address, name) {
  const response = await reach(address, name);
  check(response, name);
  return new Uint8Array(await response.arrayBuffer());
}

async function reach(address, name) {
  try {
    return await fetch(address);
  } catch {
    throw new VqcodecError('NetworkError', `${name} cannot be reached`);
  }
}

function check(response, name) {
  if (response.ok) return;
  throw new VqcodecError('NetworkError', `${name} cannot be had: HTTP status ${response.status}`);
}

// Not all browsers can iterate over a stream.
async function* piecesOf(stream) {
  const reader = stream.getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
}
