// The decoder: bytes of a .vqc file -> facts, indices, pixels. Runs in browsers and in Node.

import {isDisplayP3, metadataFacts, readAlpha} from './chunks.js';
import {unpack} from './container.js';
import {corrupt} from './errors.js';
import {ExactLayer} from './exact_part.js';
import {gridOf, MAX_PIXELS, tileGrid, tilePixels} from './header.js';
import {decodeTile} from './prior.js';
import {blankStrips, strips} from './synthesis.js';

const KEPT_PIXELS = 2 ** 22; // of pictures whose latents are kept for other realisms
const PRIOR_SHARE = 0.5; // of the time to a picture, roughly
const DISPLAY_P3 = '12,13'; // primaries and transfer characteristics of H.273

// A file that is open. Throws VqcodecError for one that is damaged, or of an unknown model.
// library: see model.js.
export async function openPicture(bytes, library, maxPixels = MAX_PIXELS) {
  const file = unpack(bytes, maxPixels);
  const {header, chunks} = file;
  const model = header.learned ? await library.model(header.modelId) : null;
  const levels = model?.config.transform.levels ?? 1;
  if (header.level >= levels) {
    throw corrupt(`level is ${header.level}, expected less than ${levels}`);
  }
  const alpha = await readAlpha(chunks, header);
  const byNumbers = header.cicp && String(header.cicp.slice(0, 2)) === DISPLAY_P3;
  const wide = byNumbers || (await isDisplayP3(chunks));
  const {width, height, grey, level, depth, cicp} = header;
  return new Picture(file, model, alpha, {
    ...{width, height, grey, level, depth, cicp},
    alpha: alpha !== null,
    model: model?.name ?? null,
    hasRealism: model?.hasRealism ?? false,
    bytes: bytes.length,
    tiles: tileGrid(header).length,
    exactTiles: file.exact.filter((part) => part).length,
    metadata: metadataFacts(chunks),
    colorSpace: wide ? 'display-p3' : 'srgb',
  });
}

class Picture {
  constructor(file, model, alpha, facts) {
    Object.assign(this, {...file, model, alpha, facts, kept: new Map()});
  }

  // Fetch and set up what the strips of a realism take.
  async prepare(realism) {
    await this.model?.prepare(this.header.level, realism);
  }

  // Strips {y, height, data: RGBA} from the top. realism: 0..1, 0 for a model without it.
  // report: called with the share that is done, 0..1; what it throws ends the work.
  async *strips(realism, report) {
    const tiles = tileGrid(this.header).map((tile) => tilePixels(this.header, tile));
    const exact = new ExactLayer(this.exact, tiles, this.header.grey);
    const share = this.model ? PRIOR_SHARE : 0;
    for await (const strip of this.learnedStrips(realism, report)) {
      exact.apply(strip, this.header.width);
      this.addAlpha(strip);
      const bottom = strip.y + strip.height;
      yield strip;
      await report(share + ((1 - share) * bottom) / this.header.height);
    }
  }

  learnedStrips(realism, report) {
    if (!this.model) return blankStrips(this.header);
    const grid = tileGrid(this.header);
    return strips(this.model, this.header, realism, async (number) => {
      const share = (part) => report((PRIOR_SHARE * (number + part)) / grid.length);
      return this.latents(grid[number], number, share);
    });
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

  // {data: Int32Array, dims: [h, w, C]}, as the package's read_indices gives them; null where all
  // pixels are exact.
  async indices() {
    if (!this.model) return null;
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
