// Models of a site: a manifest, tables and graphs, which are fetched when they are first needed.
//
// A source has `get(path)`, which gives the bytes of a file of the site, null if there is none, and
// may have `expect(bytes)`, which is told of those to come. A runtime has `open(bytes, isExact)`,
// which makes a network of a graph's bytes: a function from inputs {name: whole number or list of
// them, or {data, dims}} to a list of outputs {data, dims}. It may have `begin()`, to set itself up
// while the first bytes come.

import {Codebooks} from './codebooks.js';
import {corrupt, VqcodecError} from './errors.js';

const HASH_DIGITS = 32; // of the name of a part
const PAINTERS = ['synthesis', 'realism'];
const DTYPES = {I32: Int32Array};

// The network that makes pixels.
export function painter(realism) {
  return realism ? 'realism' : 'synthesis';
}

export class Library {
  constructor(source, runtime) {
    this.source = source;
    this.runtime = runtime;
    this.models = new Map();
  }

  // The model of this id, in hex.
  async model(id) {
    return once(this.models, id, () => this.load(id));
  }

  async load(id) {
    this.runtime.begin?.();
    const manifest = await this.source.get(`models/${id}.json`);
    if (!manifest) {
      const index = JSON.parse(text((await this.source.get('models/index.json')) ?? '{}'));
      const names = (index.models ?? []).map((model) => model.name).join(', ') || 'none';
      const message = `the file needs model ${id}, which this page lacks; it has: ${names}`;
      throw new VqcodecError('UnknownModelError', message);
    }
    const model = new Model(JSON.parse(text(manifest)), this.source, this.runtime);
    await model.start();
    return model;
  }
}

class Model {
  constructor(manifest, source, runtime) {
    Object.assign(this, manifest, {source, runtime, networks: new Map()});
    this.passes = manifest.config.prior.passes;
  }

  async start() {
    this.tables = readTensors(await this.part('tables'));
    this.codebooks = new Codebooks(this.tables, this.config.quantizer);
  }

  get hasRealism() {
    return 'realism' in this.parts;
  }

  // Row `level` of a table [L, n].
  row(name, level) {
    const {data, shape} = this.tables[name];
    return data.subarray(level * shape[1], (level + 1) * shape[1]);
  }

  // Run the network of this name.
  async run(name, inputs) {
    return (await this.network(name))(inputs);
  }

  // Set up all networks that a file of this level needs, while others come.
  async prepare(level, realism) {
    const coding = [...this.passes.keys()].filter((n) => n && this.passes[n].min_level <= level);
    const names = [...coding.map((n) => `pass ${n}`), painter(realism)];
    await Promise.all(names.map((name) => this.network(name)));
  }

  network(name) {
    return once(this.networks, name, async () => {
      const isExact = !PAINTERS.includes(name);
      return this.runtime.open(await this.part(name), isExact);
    });
  }

  // The bytes of a part, checked against the hash that is its name.
  async part(name) {
    const {path, bytes: size} = this.parts[name];
    this.source.expect?.(size);
    const packed = await this.source.get(path);
    if (!packed) throw this.error(name, 'is missing');
    let bytes;
    try {
      bytes = await gunzip(packed);
    } catch {
      throw this.error(name, 'is damaged');
    }
    const hash = await sha256(bytes);
    if (hash && !path.includes(`/${hash.slice(0, HASH_DIGITS)}.`)) {
      throw this.error(name, `has hash ${hash}, its name is ${path}`);
    }
    return bytes;
  }

  error(name, what) {
    return new VqcodecError('ModelError', `${name} of model ${this.name} ${what}`);
  }
}

// In hex; null on a page that came by plain HTTP from elsewhere, which has no hashes.
async function sha256(bytes) {
  if (!globalThis.crypto?.subtle) return null;
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

// What `make` gives, made once for each name; after a failure, which may be the network's, anew.
function once(made, name, make) {
  if (!made.has(name)) {
    const found = make();
    found.catch(() => made.delete(name));
    made.set(name, found);
  }
  return made.get(name);
}

function text(bytes) {
  return typeof bytes === 'string' ? bytes : new TextDecoder().decode(bytes);
}

// Undo gzip, unless the server let the browser do it.
async function gunzip(bytes) {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// The tensors of a safetensors file: {name: {data, shape}}.
function readTensors(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = 8 + Number(view.getBigUint64(0, true));
  const header = JSON.parse(text(bytes.subarray(8, start)));
  delete header.__metadata__;
  const found = {};
  for (const [name, {dtype, shape, data_offsets: [from, to]}] of Object.entries(header)) {
    if (!(dtype in DTYPES)) throw corrupt(`tensor ${name} is ${dtype}`);
    const buffer = bytes.slice(start + from, start + to).buffer;
    found[name] = {shape, data: new DTYPES[dtype](buffer)};
  }
  return found;
}
