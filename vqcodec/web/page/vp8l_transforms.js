// The transforms of WebP lossless, undone: RFC 9649, section 4. Pixels are ARGB, 32 bits.

const BLACK = 0xff000000;
const MASK_AG = 0xff00ff00;
const MASK_RB = 0x00ff00ff;

// transform: {type, log2, across, data}, of predictors and colors with an element a block of
// 2^log2 pixels. width: of the result.
export function invertTransform(transform, pixels, width, height) {
  const inverse = [addPredictions, addColors, addGreen, lookUp][transform.type];
  return inverse(transform, pixels, width, height);
}

// Each of the four bytes by itself.
function addBytes(a, b) {
  const ag = ((a & MASK_AG) >>> 0) + ((b & MASK_AG) >>> 0);
  const rb = (a & MASK_RB) + (b & MASK_RB);
  return ((ag & MASK_AG) | (rb & MASK_RB)) >>> 0;
}

function average(a, b) {
  return ((((a ^ b) & 0xfefefefe) >>> 1) + ((a & b) >>> 0)) >>> 0;
}

// Byte by byte: combine(bytes of a, b and c), limited to 0..255.
function clamped(combine) {
  return (a, b, c) => {
    let found = 0;
    for (let shift = 0; shift < 32; shift += 8) {
      const value = combine((a >>> shift) & 255, (b >>> shift) & 255, (c >>> shift) & 255);
      found |= (value < 0 ? 0 : value > 255 ? 255 : value) << shift;
    }
    return found >>> 0;
  };
}

const addSubtract = clamped((a, b, c) => a + b - c);
const addHalf = clamped((a, b) => a + Math.trunc((a - b) / 2));

// The one of left and top that is nearer to left + top - corner.
function select(left, top, corner) {
  let difference = 0; // of the distances of left and of top
  for (let shift = 0; shift < 32; shift += 8) {
    const byte = (corner >>> shift) & 255;
    difference += Math.abs(((top >>> shift) & 255) - byte);
    difference -= Math.abs(((left >>> shift) & 255) - byte);
  }
  return difference < 0 ? left : top;
}

// By number; of left, top, top right and top left.
const PREDICTORS = [
  () => BLACK,
  (l) => l,
  (l, t) => t,
  (l, t, tr) => tr,
  (l, t, tr, tl) => tl,
  (l, t, tr) => average(average(l, tr), t),
  (l, t, tr, tl) => average(l, tl),
  (l, t) => average(l, t),
  (l, t, tr, tl) => average(tl, t),
  (l, t, tr) => average(t, tr),
  (l, t, tr, tl) => average(average(l, tl), average(t, tr)),
  (l, t, tr, tl) => select(l, t, tl),
  (l, t, tr, tl) => addSubtract(l, t, tl),
  (l, t, tr, tl) => addHalf(average(l, t), tl, 0),
  () => BLACK,
  () => BLACK,
];

function addPredictions({log2, across, data}, pixels, width, height) {
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      let guess = BLACK;
      if (y === 0) guess = x ? pixels[at - 1] : BLACK;
      else if (x === 0) guess = pixels[at - width];
      else {
        const mode = (data[(y >> log2) * across + (x >> log2)] >>> 8) & 15;
        const up = at - width; // behind the last column is the first of this row
        guess = PREDICTORS[mode](pixels[at - 1], pixels[up], pixels[up + 1], pixels[up - 1]);
      }
      pixels[at] = addBytes(pixels[at], guess);
    }
  }
  return pixels;
}

function signed(byte) {
  return (byte << 24) >> 24;
}

function addColors({log2, across, data}, pixels, width, height) {
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      const element = data[(y >> log2) * across + (x >> log2)];
      const [redToBlue, greenToBlue] = [signed(element >> 16), signed(element >> 8)];
      const greenToRed = signed(element);
      const argb = pixels[at];
      const green = signed(argb >> 8);
      const red = ((argb >> 16) + ((greenToRed * green) >> 5)) & 255;
      const blue = argb + ((greenToBlue * green) >> 5) + ((redToBlue * signed(red)) >> 5);
      pixels[at] = (argb & MASK_AG) | (red << 16) | (blue & 255);
    }
  }
  return pixels;
}

function addGreen(transform, pixels) {
  for (let at = 0; at < pixels.length; at++) {
    const green = (pixels[at] >>> 8) & 255;
    pixels[at] = addBytes(pixels[at], (green << 16) | green);
  }
  return pixels;
}

// Several indices may share a pixel.
function lookUp({log2, data}, packed, width, height) {
  const palette = new Uint32Array(256);
  let color = 0;
  for (const [n, change] of data.entries()) palette[n] = color = addBytes(color, change);
  const bits = 8 >> log2;
  const columns = packed.length / height;
  const pixels = new Uint32Array(width * height);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      const byte = (packed[y * columns + (x >> log2)] >>> 8) & 255;
      pixels[at] = palette[(byte >> (bits * (x & (2 ** log2 - 1)))) & (2 ** bits - 1)];
    }
  }
  return pixels;
}
