// A runtime for model.js whose networks the parent process computes: requests go to stdout and
// answers come from stdin, a line of JSON each and then bytes, whose number the line says.

import {readSync, writeSync} from 'node:fs';

export const pipedRuntime = {
  async open(bytes) {
    const {id} = ask({ask: 'open', bytes: bytes.length}, [bytes]);
    return async (inputs) => run(id, inputs);
  },
};

function run(id, inputs) {
  const [arrays, whole] = [[], {}];
  for (const [name, value] of Object.entries(inputs)) {
    if (value.data) arrays.push({name, ...value});
    else whole[name] = [value].flat();
  }
  const described = arrays.map(({name, dims}) => ({name, dims}));
  const bytes = arrays.map(({data: {buffer, byteOffset, byteLength}}) => {
    return new Uint8Array(buffer, byteOffset, byteLength);
  });
  const size = bytes.reduce((sum, part) => sum + part.length, 0);
  const {shapes} = ask({ask: 'run', id, whole, inputs: described, bytes: size}, bytes);
  return shapes.map((dims) => {
    const data = new Float32Array(dims.reduce((a, b) => a * b, 1));
    read(new Uint8Array(data.buffer));
    return {data, dims};
  });
}

function ask(question, parts) {
  for (const part of [Buffer.from(`${JSON.stringify(question)}\n`), ...parts]) write(part);
  const line = [];
  for (const byte = new Uint8Array(1); line.at(-1) !== 10; line.push(byte[0])) read(byte);
  return JSON.parse(Buffer.from(line).toString());
}

function write(bytes) {
  for (let at = 0; at < bytes.length; ) at += writeSync(1, bytes, at);
}

function read(into) {
  for (let at = 0; at < into.length; ) {
    const count = readSync(0, into.subarray(at));
    if (!count) throw new Error('the parent process is gone');
    at += count;
  }
}
