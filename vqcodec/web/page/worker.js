// Decodes in the background, so that the page stays responsive.
//
// Messages in: {job, bytes, realism} opens a file, {job, realism} paints the open one again. A
// newer job ends an older one, even {job} alone. Out, each with `job`: {facts}, {status, done}
// (done: 0..1, null where nobody knows), {strip}, {end: {seconds, device}}, {error}.

import {openPicture} from './decoder.js';
import {Library} from './model.js';
import {runtimeOf} from './onnxruntime.js';
import {Site} from './source.js';

const MAX_THREADS = 4;
const BASE = new URL('.', import.meta.url);

let current = 0;
let picture = null;
let runtime = null; // a promise; files of exact pixels alone take none
let loading = null; // what to say of bytes that come

const site = new Site(BASE, (...numbers) => loading?.(...numbers));
const library = new Library(site, {
  begin: started,
  open: async (...graph) => (await started()).open(...graph),
});

class Superseded extends Error {}

self.addEventListener('message', ({data}) => {
  current = data.job;
  if (data.realism === undefined) return;
  work(data).catch((error) => {
    if (error instanceof Superseded) return;
    const known = 'kind' in error;
    if (!known) console.error(error);
    const message = known ? error.message : explain(error);
    self.postMessage({job: data.job, error: message});
  });
});

// Of errors of the browser or of ONNX Runtime.
function explain(error) {
  const text = String(error?.message ?? error).split('\n')[0];
  return /memory|allocat/i.test(text) ? 'not enough memory for this picture' : text;
}

async function work({job, bytes, realism}) {
  const say = (message) => self.postMessage({job, ...message});
  say({status: 'Starting', done: null});
  loading = (received, expected) => {
    if (job !== current || received > expected) return; // of a manifest, which is short
    const status = `Loading the model, ${megabytes(received)} of ${megabytes(expected)} MB`;
    say({status, done: received / expected});
  };
  if (bytes) {
    picture = null;
    const opened = await openPicture(new Uint8Array(bytes), library);
    if (job !== current) throw new Superseded();
    picture = opened;
    say({facts: picture.facts});
  }
  const open = picture; // a newer job may take its place
  const dial = open.facts.hasRealism ? realism : 0;
  const device = open.model && (await started()).device;
  await open.prepare(dial);
  const begun = performance.now();
  await paint(open, dial, say, job);
  say({end: {device, seconds: (performance.now() - begun) / 1000}});
}

async function paint(open, realism, say, job) {
  const report = async (done) => {
    say({status: 'Decoding', done});
    await nextTask();
    if (job !== current) throw new Superseded();
  };
  for await (const strip of open.strips(realism, report)) {
    self.postMessage({job, strip}, [strip.data.buffer]);
  }
}

// Let messages in.
function nextTask() {
  return new Promise((resolve) => {
    const {port1, port2} = new MessageChannel();
    port1.onmessage = resolve;
    port2.postMessage(0);
  });
}

function started() {
  runtime ??= start();
  runtime.catch(() => (runtime = null)); // the next file tries again
  return runtime;
}

async function start() {
  const gpu = await hasGpu();
  const ort = await import(`./ort/ort.${gpu ? 'webgpu' : 'wasm'}.min.mjs`);
  ort.env.wasm.wasmPaths = new URL('ort/', BASE).href;
  // Threads share memory, which only isolated pages may.
  const cores = self.crossOriginIsolated ? navigator.hardwareConcurrency : 1;
  const threads = Math.min(cores, MAX_THREADS);
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = 'error';
  const wasm = `WebAssembly, ${threads} thread${threads > 1 ? 's' : ''}`;
  return {...runtimeOf(ort, gpu), device: gpu ? `WebGPU and ${wasm}` : wasm};
}

// In the page's address, which is the worker's as well, ?gpu=0 does without, and ?gpu=1 takes even
// one that the CPU plays.
async function hasGpu() {
  const wish = new URL(self.location).searchParams.get('gpu');
  if (wish === '0') return false;
  try {
    const adapter = await navigator.gpu?.requestAdapter();
    return Boolean(adapter) && (wish === '1' || !adapter.info?.isFallbackAdapter);
  } catch {
    return false;
  }
}

function megabytes(bytes) {
  return (bytes / 1e6).toFixed(1);
}
