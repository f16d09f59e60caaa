// The checksums of FORMAT.md: CRC-16 (polynomial 0x1021, start 0xFFFF, not reflected) and zlib's
// CRC-32, of several parts as if they were one.

const TABLE_16 = new Uint16Array(256);
const TABLE_32 = new Uint32Array(256);
for (let byte = 0; byte < 256; byte++) {
  let short = byte << 8;
  let long = byte;
  for (let bit = 0; bit < 8; bit++) {
    short = short & 0x8000 ? (short << 1) ^ 0x1021 : short << 1;
    long = long & 1 ? (long >>> 1) ^ 0xedb88320 : long >>> 1;
  }
  TABLE_16[byte] = short;
  TABLE_32[byte] = long;
}

export function crc16(...parts) {
  let crc = 0xffff;
  for (const part of parts) {
    for (const byte of part) crc = ((crc << 8) & 0xffff) ^ TABLE_16[(crc >> 8) ^ byte];
  }
  return crc;
}

export function crc32(...parts) {
  let crc = 0xffffffff;
  for (const part of parts) {
    for (const byte of part) crc = (crc >>> 8) ^ TABLE_32[(crc ^ byte) & 255];
  }
  return (crc ^ 0xffffffff) >>> 0;
}
