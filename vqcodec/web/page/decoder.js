// The decoder: bytes of a .vqc file -> facts, indices, pixels. Runs in browsers and in Node.

import {isDisplayP3, metadataFacts, readAlpha} from './chunks.js';
import {gridOf, MAX_PIXELS, tileGrid, unpack} from './container.js';
import {corrupt} from './errors.js';
import {decodeTile} from './prior.js';
import {strips} from './synthesis.js';

const KEPT_PIXELS = 2 ** 22; // of pictures whose latents are kept for other realisms
const PRIOR_SHARE = 0.5; // of the time to a picture, roughly

// A file that is open. Throws VqcodecError for one that is damaged, or of an unknown model.
// library: see model.js.
export async function openPicture(bytes, library, maxPixels = MAX_PIXELS) {
  const {header, tiles, chunks} = unpack(bytes, maxPixels);
  const model = await library.model(header.modelId);
  const {levels} = model.config.transform;
  if (header.level >= levels) {
    throw corrupt(`level is ${header.level}, expected less than ${levels}`);
  }
  const alpha = await readAlpha(chunks, header);
  const wide = await isDisplayP3(chunks);
  return new Picture(header, tiles, model, alpha, {
    width: header.width,
    height: header.height,
    grey: header.grey,
    alpha: alpha !== null,
    level: header.level,
    model: model.name,
    hasRealism: model.hasRealism,
    bytes: bytes.length,
    tiles: tiles.length,
    metadata: metadataFacts(chunks),
    colorSpace: wide ? 'display-p3' : 'srgb',
  });
}

class Picture {
  constructor(header, tiles, model, alpha, facts) {
    Object.assign(this, {header, tiles, model, alpha, facts, kept: new Map()});
  }

  // Fetch and set up what the strips of a realism take.
  prepare(realism) {
    return this.model.prepare(this.header.level, realism);
  }

  // Strips {y, height, data: RGBA} from the top. realism: 0..1, 0 for a model without it.
  // report: called with the share that is done, 0..1; what it throws ends the work.
  async *strips(realism, report) {
    const grid = tileGrid(this.header);
    const latentsOf = async (number) => {
      const share = (part) => report((PRIOR_SHARE * (number + part)) / grid.length);
      return this.latents(grid[number], number, share);
    };
    for await (const strip of strips(this.model, this.header, realism, latentsOf)) {
      this.addAlpha(strip);
      yield strip;
      const done = (strip.y + strip.height) / this.header.height;
      await report(PRIOR_SHARE + (1 - PRIOR_SHARE) * done);
    }
  }

  async latents(tile, number, report) {
    if (this.kept.has(number)) return this.kept.get(number);
    const {latents} = await this.tile(tile, number, report);
    const {width, height} = this.header;
    if (this.model.hasRealism && width * height <= KEPT_PIXELS) this.kept.set(number, latents);
    return latents;
  }

  tile(tile, number, report, withIndices = false) {
    const size = [tile.height, tile.width];
    const {level} = this.header;
    return decodeTile(this.model, this.tiles[number], level, size, report, withIndices);
  }

  // {data: Int32Array, dims: [h, w, C]}, as the package's read_indices gives them.
  async indices() {
    const [height, width] = gridOf(this.header);
    const channels = this.model.config.transform.latents;
    const data = new Int32Array(height * width * channels);
    for (const [number, tile] of tileGrid(this.header).entries()) {
      const {indices} = await this.tile(tile, number, () => {}, true);
      const length = tile.width * channels;
      for (let y = 0; y < tile.height; y++) {
        const to = ((tile.y + y) * width + tile.x) * channels;
        data.set(indices.subarray(y * length, (y + 1) * length), to);
      }
    }
    return {data, dims: [height, width, channels]};
  }

  addAlpha(strip) {
    if (!this.alpha) return;
    const from = strip.y * this.header.width;
    for (let i = 0; i < strip.data.length / 4; i++) strip.data[4 * i + 3] = this.alpha[from + i];
  }
}
