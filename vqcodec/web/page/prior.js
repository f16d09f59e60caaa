// One tile's payload -> its latents and indices, by walking the passes of the integer prior.
// FORMAT.md, "Prior".
//
// The sums of the networks come from float32 graphs in which every sum is an integer below 2^24,
// and so exact. What follows them here is integer work in float64, below 2^53.

import {RansReader} from './rans.js';

const ACT_UNIT = 32;
const UNITS_MAX = 1023;
const MEAN_MAX = 2 ** 15;
const LATENT_UNIT = 64;

// {latents: Float32Array [h * w * C], in steps; indices: Int32Array of the same, null unless
// withIndices}.
// report: called with the share that is done, 0..1; it may be waited for, and may throw.
export async function decodeTile(model, segments, level, grid, report, withIndices = false) {
  const walk = new Walk(model, segments, level, grid);
  if (withIndices) walk.indices = new Int32Array(walk.y.length).fill(-1);
  const coded = model.passes.filter((pass) => pass.min_level <= level);
  for (const index of coded.keys()) {
    await walk.step(index);
    await report((index + 1) / coded.length);
  }
  walk.coders.forEach((coder) => coder.finish());
  const latents = new Float32Array(walk.y); // much faster than `from` with a function
  for (let i = 0; i < latents.length; i++) latents[i] /= LATENT_UNIT;
  return {latents, indices: walk.indices};
}

class Walk {
  constructor(model, segments, level, [height, width]) {
    Object.assign(this, {model, level, height, width, indices: null});
    this.channels = model.config.transform.latents;
    this.size = height * width;
    this.y = new Int32Array(this.size * this.channels); // in 2^-6 steps
    this.bits = Uint8Array.from({length: this.size}, (_, i) => {
      return 4 * (Math.floor(i / width) % 4) + (i % width) % 4; // of lattices
    });
    this.coders = [segments.coarse, segments.fine].map((words) => new RansReader(words));
    const stateWidth = model.config.prior.width;
    const state = new Float32Array(stateWidth * this.size);
    this.state = {data: state, dims: [1, stateWidth, height, width]};
  }

  async step(index) {
    const pass = this.model.passes[index];
    const positions = this.positionsOf(pass.lattice);
    const {means, rows} = index
      ? this.scales(pass, positions, await this.sums(index))
      : this.scales(pass, positions, null);
    const coder = this.coders[index < this.model.config.prior.coarse_passes ? 0 : 1];
    const indices = this.model.codebooks.read(coder, rows);
    this.store(pass, positions, means, rows, indices);
  }

  positionsOf(lattice) {
    const found = [];
    for (let i = 0; i < this.size; i++) if ((lattice >> this.bits[i]) & 1) found.push(i);
    return found;
  }

  // The sums of a pass, Float32Array [h * w * 2 n], which moves the state on.
  async sums(index) {
    const context = {data: this.context(index), dims: [this.height, this.width, -1]};
    context.dims[2] = context.data.length / this.size;
    const inputs = {state: this.state, context, level: this.level};
    const [state, sums] = await this.model.run(`pass ${index}`, inputs);
    this.state = state;
    return sums.data;
  }

  // What a pass reads: the channels of the pass before it, and where they are known.
  context(index) {
    const {start, stop} = this.model.passes[index - 1];
    const before = this.model.passes.slice(0, index).filter((pass) => pass.start === start);
    const known = before.reduce((lattice, pass) => lattice | pass.lattice, 0);
    const toUnits = this.model.row('to_units', this.level).subarray(start, stop);
    const width = stop - start + 1;
    const context = new Float32Array(this.size * width);
    for (let i = 0; i < this.size; i++) {
      if (!((known >> this.bits[i]) & 1)) continue;
      const from = i * this.channels + start;
      for (let c = 0; c < width - 1; c++) {
        const x = roundedShift(this.y[from + c] * toUnits[c], 2 ** 17);
        context[i * width + c] = clip(x, -UNITS_MAX, UNITS_MAX);
      }
      context[i * width + width - 1] = ACT_UNIT;
    }
    return context;
  }

  // Of sums (null: of the first pass), at a pass's positions [M * n]: the means in 2^-6 steps, and
  // the rows of the tables.
  scales(pass, positions, sums) {
    const n = pass.stop - pass.start;
    const [toSteps, logSteps] = ['to_steps', 'log_steps'].map((name) => {
      return this.model.row(name, this.level).subarray(pass.start, pass.stop);
    });
    const {per_octave: perOctave, classes} = this.model.config.quantizer;
    const lowest = 8192 * this.model.config.quantizer.log_sigma_min;
    const fixed = sums ?? this.model.row('first_sums', this.level);
    const means = new Int32Array(positions.length * n);
    const rows = new Int32Array(positions.length * n);
    for (let k = 0; k < positions.length; k++) {
      const from = sums ? positions[k] * 2 * n : 0;
      for (let c = 0; c < n; c++) {
        const mean = clip(roundedShift(fixed[from + c], 8), -MEAN_MAX, MEAN_MAX);
        means[k * n + c] = roundedShift(mean * toSteps[c], 2 ** 20);
        const scale = (fixed[from + n + c] + logSteps[c] - lowest) * perOctave;
        rows[k * n + c] = clip(roundedShift(scale, 2 ** 13), 0, classes - 1);
      }
    }
    this.model.codebooks.classesToRows(rows);
    return {means, rows};
  }

  store(pass, positions, means, rows, indices) {
    const n = pass.stop - pass.start;
    for (let k = 0; k < positions.length; k++) {
      const to = positions[k] * this.channels + pass.start;
      for (let c = 0; c < n; c++) {
        const j = k * n + c;
        this.y[to + c] = means[j] + this.model.codebooks.value(indices, rows, j);
      }
      if (this.indices) this.indices.set(indices.subarray(k * n, k * n + n), to);
    }
  }
}

// x / unit, rounded half up.
function roundedShift(x, unit) {
  return Math.floor((x + unit / 2) / unit);
}

function clip(x, low, high) {
  return Math.min(Math.max(x, low), high);
}
