// What a file, a model or a browser can be at fault for. Messages are one line: what was found,
// what was expected, and where. The kinds are the classes of vqcodec/errors.py.

export class VqcodecError extends Error {
  constructor(kind, message, offset) {
    super(offset === undefined ? message : `${message}, at offset ${offset}`);
    this.kind = kind;
  }
}

export function corrupt(message, offset) {
  return new VqcodecError('CorruptError', message, offset);
}

export function unsupported(message, offset) {
  return new VqcodecError('UnsupportedVersionError', message, offset);
}
