// Decode files with the modules of the page, in Node: node decode.mjs PAGE SITE ORT OUT FILE...
//
// PAGE: folder of the modules. SITE: of the models. ORT: the module of onnxruntime-web, or "-" for
// networks that the parent process computes (piped.mjs). FILE: a path, or REALISM@PATH. Prints a
// line of JSON a file, its size and the hash of its indices, or its error; the pixels go to
// OUT/NUMBER.rgba.

import {createHash} from 'node:crypto';
import {appendFileSync, readFileSync, writeFileSync, writeSync} from 'node:fs';
import path from 'node:path';
import {pathToFileURL} from 'node:url';
import {pipedRuntime} from './piped.mjs';

const [page, site, ortPath, out, ...files] = process.argv.slice(2);
const load = (file) => import(pathToFileURL(path.resolve(file)));
const {openPicture} = await load(`${page}/decoder.js`);
const {Library} = await load(`${page}/model.js`);
const {runtimeOf} = await load(`${page}/onnxruntime.js`);

const source = {
  async get(name) {
    try {
      return new Uint8Array(readFileSync(`${site}/${name}`));
    } catch {
      return null;
    }
  },
};
const library = new Library(source, ortPath === '-' ? pipedRuntime : await webRuntime());
for (const [number, file] of files.entries()) {
  writeSync(1, `${JSON.stringify(await decode(file, `${out}/${number}.rgba`))}\n`);
}
process.exit(0); // ONNX Runtime Web keeps the process alive

async function webRuntime() {
  const ort = await load(ortPath);
  ort.env.wasm.numThreads = 1;
  return runtimeOf(ort);
}

async function decode(file, target) {
  const [name, realism] = file.split('@').reverse();
  try {
    const picture = await openPicture(new Uint8Array(readFileSync(name)), library);
    const indices = await picture.indices();
    const words = indices && createHash('sha256').update(indices.data).digest('hex');
    writeFileSync(target, '');
    for await (const strip of picture.strips(Number(realism ?? 0), () => {})) {
      appendFileSync(target, new Uint8Array(strip.data.buffer));
    }
    return {facts: picture.facts, words};
  } catch (error) {
    if (!error.kind) throw error;
    return {error: error.kind, message: error.message};
  }
}
