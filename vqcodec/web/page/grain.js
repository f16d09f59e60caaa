// Noise inputs of the realism decoder, by position: vqcodec/nn/grain.py.

const CHANNELS = 16;
const PER_LATENT = 2; // positions of grain a latent, each way

// {data, dims} of a window {x, y, width, height} in latents, uniform with variance 1.
export function grain(window) {
  const dims = [PER_LATENT * window.height, PER_LATENT * window.width, CHANNELS];
  const data = new Float32Array(dims[0] * dims[1] * CHANNELS);
  let at = 0;
  for (let y = 0; y < dims[0]; y++) {
    const row = mix(PER_LATENT * window.y + y + 1);
    for (let x = 0; x < dims[1]; x++) {
      const position = Math.imul(mix(row + PER_LATENT * window.x + x), CHANNELS);
      for (let c = 0; c < CHANNELS; c++) {
        data[at++] = (mix(position + c) / 2 ** 32 - 0.5) * Math.sqrt(12);
      }
    }
  }
  return {data, dims};
}

// A number modulo 2^32 -> one of 0..2^32 - 1 that looks random: two rounds of multiply and shift.
function mix(n) {
  for (const factor of [0x7feb352d, 0x846ca68b]) n = Math.imul(n ^ (n >>> 16), factor);
  return (n ^ (n >>> 15)) >>> 0;
}
