// Decode WebP lossless bitstreams: node vp8l.mjs PAGE OUT WIDTHxHEIGHT@FILE... Prints "ok", or the
// kind of the error, a line a file; the pixels, ARGB, go to OUT/NUMBER.argb.

import {readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import {pathToFileURL} from 'node:url';

const [page, out, ...files] = process.argv.slice(2);
const {decodeVp8l} = await import(pathToFileURL(path.resolve(`${page}/vp8l.js`)));
for (const [number, file] of files.entries()) {
  const [size, name] = file.split('@');
  const [width, height] = size.split('x').map(Number);
  try {
    const pixels = decodeVp8l(new Uint8Array(readFileSync(name)), width, height);
    writeFileSync(`${out}/${number}.argb`, new Uint8Array(pixels.buffer));
    console.log('ok');
  } catch (error) {
    if (!error.kind) throw error;
    console.log(error.kind);
  }
}
