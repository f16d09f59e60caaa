// The page: files come in, by drag and drop, the picker, paste or the address, and go to the
// worker; what it decodes goes to the stage.
//
// The state is in the attribute data-state of the root element: empty, busy, done or error.

import {describe, fillList} from './facts.js';
import {download} from './source.js';
import {Stage} from './stage.js';

const MAGIC = [0x89, 0x56, 0x51, 0x43];
const REALISM_DELAY = 150; // milliseconds that a dial must rest

const element = (id) => document.getElementById(id);
const stage = new Stage();
const workerAddress = new URL(`worker.js${location.search}`, import.meta.url);
const worker = new Worker(workerAddress, {type: 'module'});

let job = 0;
let open = null; // {name, facts, result}
let original = null; // a Blob
let rest = 0; // timer of the dial

worker.addEventListener('message', ({data}) => {
  if (data.job !== job) return;
  if (data.status) showStatus(data.status, data.done);
  if (data.facts) begin(data.facts);
  if (data.strip) stage.draw(data.strip);
  if (data.end) end(data.end);
  if (data.error) fail(`${open.name}: ${data.error}`);
});
worker.addEventListener('error', (event) => {
  event.preventDefault();
  fail(`the decoder did not start: ${event.message || 'a file of this site is missing'}`);
});

function setState(state) {
  document.documentElement.dataset.state = state;
  element('empty').hidden = state !== 'empty' && state !== 'error';
  element('error').hidden = state !== 'error';
  element('progress').hidden = state !== 'busy';
  element('wait').hidden = state !== 'busy' || !element('viewer').hidden;
  if (state !== 'busy') element('status').textContent = '';
}

function showStatus(text, done) {
  element('status').textContent = element('wait').textContent = text;
  say(text.split(',')[0]); // without numbers
  const bar = element('progress');
  if (done === null) bar.removeAttribute('value');
  else bar.value = done;
}

// For screen readers, which read what changes.
function say(text) {
  if (element('said').textContent !== text) element('said').textContent = text;
}

// No picture can be shown.
function fail(message) {
  setState('error');
  element('viewer').hidden = true;
  warn(message);
}

// A line of error; what is shown stays.
function warn(message) {
  element('error').hidden = false;
  element('error').textContent = message;
}

function openBytes(name, bytes) {
  clearTimeout(rest);
  open = {name, facts: null, result: {}};
  element('viewer').hidden = true;
  setState('busy');
  showStatus('Starting', null);
  document.title = `${name} – vqcodec viewer`;
  const realism = Number(element('realism').value);
  worker.postMessage({job: ++job, bytes: bytes.buffer, realism}, [bytes.buffer]);
}

function begin(facts) {
  open.facts = facts;
  try {
    stage.begin(facts, open.name);
  } catch (error) {
    fail(`${open.name}: ${error.message}`);
    worker.postMessage({job: ++job}); // ends the old one
    return;
  }
  element('dial').hidden = !facts.hasRealism;
  element('viewer').hidden = false;
  element('wait').hidden = true;
  showFacts();
}

async function end(result) {
  setState('done');
  open.result = result;
  element('status').textContent = `Done, ${result.seconds.toFixed(2)} s`;
  say(`${open.name} is decoded`);
  showFacts();
  await compare();
}

function showFacts() {
  fillList(element('facts'), describe(open.facts, open.name, open.result));
}

async function compare() {
  if (!original || document.documentElement.dataset.state !== 'done') return;
  const mine = open;
  const decibels = await stage.psnr(original);
  if (mine !== open) return;
  open.result.original =
    decibels === null ? 'of another size' : `${original.name ?? ''} PSNR ${decibels.toFixed(2)} dB`;
  showFacts();
}

async function setOriginal(file) {
  try {
    await stage.setOriginal(file);
    original = file;
  } catch {
    await stage.setOriginal(null);
    original = null;
    warn(`${file.name}: neither a .vqc file nor a picture that this browser knows`);
    return;
  }
  await compare();
}

// A .vqc file is opened, a picture is what to compare it with.
async function take(files) {
  const are = await Promise.all(files.map(isVqc));
  const coded = files.find((_, n) => are[n]);
  const picture = files.find((file) => file !== coded);
  if (coded) {
    if (!picture && original) await setNoOriginal();
    openBytes(coded.name, new Uint8Array(await coded.arrayBuffer()));
  }
  if (picture) await setOriginal(picture);
  if (!open) element('invitation').textContent = 'Now drop the .vqc file of it';
}

async function isVqc(file) {
  const start = new Uint8Array(await file.slice(0, 4).arrayBuffer());
  return file.name.toLowerCase().endsWith('.vqc') || MAGIC.every((byte, n) => byte === start[n]);
}

async function setNoOriginal() {
  original = null;
  await stage.setOriginal(null);
}

async function takeAddress() {
  const query = new URLSearchParams(location.search);
  const nameOf = (address) => {
    return decodeURIComponent(new URL(address, location).pathname.split('/').pop());
  };
  const [file, picture] = ['file', 'original'].map((key) => query.get(key));
  if (file) {
    setState('busy');
    showStatus(`Loading ${nameOf(file)}`, null);
    openBytes(nameOf(file), await download(new URL(file, location), nameOf(file)));
  }
  if (picture) {
    const bytes = await download(new URL(picture, location), nameOf(picture));
    await setOriginal(new File([bytes], nameOf(picture)));
  }
}

element('picker').addEventListener('change', ({target}) => {
  take([...target.files]);
  target.value = '';
});
for (const kind of ['dragenter', 'dragover']) {
  addEventListener(kind, (event) => {
    event.preventDefault();
    document.body.classList.add('dropping');
  });
}
addEventListener('dragleave', (event) => {
  if (!event.relatedTarget) document.body.classList.remove('dropping');
});
addEventListener('drop', (event) => {
  event.preventDefault();
  document.body.classList.remove('dropping');
  take([...event.dataTransfer.files]);
});
addEventListener('paste', (event) => take([...event.clipboardData.files]));
element('zoom').addEventListener('change', ({target}) => stage.setZoom(target.value));
addEventListener('resize', () => stage.resize());

element('realism').addEventListener('input', ({target}) => {
  element('realism-value').textContent = target.value;
  clearTimeout(rest);
  rest = setTimeout(() => {
    setState('busy');
    worker.postMessage({job: ++job, realism: Number(target.value)});
  }, REALISM_DELAY);
});
element('save').addEventListener('click', async () => {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(await stage.toPng());
  link.download = `${open.name.replace(/\.vqc$/i, '')}.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
});

setState('empty');
takeAddress().catch((error) => fail(error.message));
