// Latents -> pixels, window by window. FORMAT.md, "Synthesis"; windows as in
// vqcodec/engine/tiling.py: cut with a halo as wide as what the decoder sees, they leave no seam.

import {grain} from './grain.js';
import {gridOf, STRIDE, tileGrid} from './header.js';
import {painter} from './model.js';

const WINDOW = 64; // latents a side
const WHOLE = 2 ** 13; // latents: what is not more is one window

// The picture from the top, in strips {y, height, data: Uint8ClampedArray RGBA, opaque}.
// latentsOf: the latents of the tile of a number, Float32Array [h * w * C]; asked in their order.
export async function* strips(model, header, realism, latentsOf) {
  const [height, width] = gridOf(header);
  const side = width * height > WHOLE ? WINDOW : Math.max(width, height);
  const halo = model.reach;
  let top = 0;
  for await (const band of bands(model, header, latentsOf)) {
    const bottom = band.y + band.height;
    const ready = bottom === height ? height : bottom - halo; // rows whose halo is known, too
    while (top < ready) {
      const rows = Math.min(side, ready - top);
      const strip = newStrip(header, top, rows);
      for (let x = 0; x < width; x += side) {
        const window = {x, y: top, width: Math.min(side, width - x), height: rows};
        await paint(model, header, realism, band, window, strip);
      }
      yield strip;
      top += rows;
    }
  }
}

// Strips to put exact tiles over, one of each row of tiles.
export function* blankStrips(header) {
  for (const {x, y, height} of tileGrid(header)) if (!x) yield newStrip(header, y, height);
}

// For each row of tiles the latents that are known and matter still: {x, y, width, height, data}.
async function* bands(model, header, latentsOf) {
  const [, width] = gridOf(header);
  const channels = model.config.transform.latents;
  const grid = tileGrid(header);
  let kept = {y: 0, height: 0, data: new Float32Array(0)};
  for (let n = 0; n < grid.length; ) {
    const {y, height} = grid[n];
    const data = new Float32Array((kept.height + height) * width * channels);
    data.set(kept.data);
    for (; n < grid.length && grid[n].y === y; n++) {
      const tile = grid[n];
      copyRows(await latentsOf(n), tile.width, data, width, kept.height, tile.x, channels);
    }
    const band = {x: 0, y: kept.y, width, height: kept.height + height, data};
    yield band;
    const rows = Math.min(band.height, 2 * model.reach);
    const from = (band.height - rows) * width * channels;
    kept = {y: y + height - rows, height: rows, data: data.subarray(from)};
  }
}

// Copy a map of rows of `fromWidth` positions into a wider one, to column x of row y on.
function copyRows(from, fromWidth, to, toWidth, y, x, channels) {
  const length = fromWidth * channels;
  for (let at = 0; at < from.length; at += length, y++) {
    to.set(from.subarray(at, at + length), (y * toWidth + x) * channels);
  }
}

function newStrip(header, top, rows) {
  const y = STRIDE * top;
  const height = Math.min(STRIDE * rows, header.height - y);
  return {y, height, data: new Uint8ClampedArray(4 * header.width * height)};
}

async function paint(model, header, realism, band, window, strip) {
  const around = widened(window, model.reach, wholeOf(...gridOf(header)));
  const channels = model.config.transform.latents;
  const data = new Float32Array(around.width * around.height * channels);
  for (let y = 0; y < around.height; y++) {
    const from = ((around.y - band.y + y) * band.width + around.x) * channels;
    data.set(band.data.subarray(from, from + around.width * channels), y * around.width * channels);
  }
  const latents = {data, dims: [around.height, around.width, channels]};
  const part = {...window, x: window.x - around.x, y: window.y - around.y};
  const near = widened(part, model.fine_reach, wholeOf(around.height, around.width));
  const inputs = {latents, level: header.level, ...ends(part, near)};
  if (realism) {
    inputs.grain = grain({...near, x: around.x + near.x, y: around.y + near.y});
    inputs.realism = {data: Float32Array.of(realism), dims: [1]};
  }
  const [pixels] = await model.run(painter(realism), inputs);
  toBytes(pixels.data, window, header, strip);
}

// What part of the latents is wanted, as the graphs of vqcodec/engine/onnx/networks.py take it:
// rows and columns of it, of what the fine blocks see of it, and of it in that, at 1/8.
function ends(part, near) {
  const fine = {x: 2 * (part.x - near.x), y: 2 * (part.y - near.y)};
  Object.assign(fine, {width: 2 * part.width, height: 2 * part.height});
  const found = {};
  for (const [name, {x, y, width, height}] of Object.entries({part, near, fine})) {
    found[`${name}_start`] = [y, x];
    found[`${name}_end`] = [y + height, x + width];
  }
  return found;
}

function wholeOf(height, width) {
  return {x: 0, y: 0, width, height};
}

// A region with so many latents around it, as far as the grid goes.
function widened(region, by, grid) {
  const [x, y] = [Math.max(region.x - by, 0), Math.max(region.y - by, 0)];
  return {
    x,
    y,
    width: Math.min(region.x + region.width + by, grid.width) - x,
    height: Math.min(region.y + region.height + by, grid.height) - y,
  };
}

// Pixels of the window, float RGB in 0..1 -> those in the strip.
function toBytes(pixels, window, header, strip) {
  const left = STRIDE * window.x;
  const columns = Math.min(STRIDE * window.width, header.width - left);
  for (let y = 0; y < strip.height; y++) {
    let from = 3 * y * STRIDE * window.width;
    let to = 4 * (y * header.width + left);
    for (let x = 0; x < columns; x++, from += 3, to += 4) {
      let [r, g, b] = [pixels[from], pixels[from + 1], pixels[from + 2]];
      if (header.grey) r = g = b = (r + g + b) / 3;
      strip.data[to] = Math.floor(255 * r + 0.5); // a clamped array limits to 0..255
      strip.data[to + 1] = Math.floor(255 * g + 0.5);
      strip.data[to + 2] = Math.floor(255 * b + 0.5);
      strip.data[to + 3] = 255;
    }
  }
}
