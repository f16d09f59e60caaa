// The picture on the page, an original over it, and the line between them.

const element = (id) => document.getElementById(id);

export class Stage {
  constructor() {
    this.stage = element('stage');
    this.canvas = element('picture');
    this.original = element('original');
    this.split = element('split');
    this.zoom = 'fit';
    this.split.addEventListener('input', () => this.moveSplit());
  }

  // Make room for a picture. Throws if the browser has no canvas of its size.
  begin(facts, name) {
    this.facts = facts;
    this.canvas.width = facts.width;
    this.canvas.height = facts.height;
    this.canvas.setAttribute('aria-label', `${name}, ${facts.width} by ${facts.height} pixels`);
    const options = {colorSpace: facts.colorSpace, willReadFrequently: true};
    this.context = this.canvas.getContext('2d', options);
    if (!this.context || !this.isWorking()) {
      const size = `${facts.width}x${facts.height}`;
      throw new Error(`this browser has no canvas of the size of the picture, ${size}`);
    }
    facts.colorSpace = this.context.getContextAttributes?.().colorSpace ?? 'srgb';
    this.resize();
  }

  // A canvas that is too large takes what is drawn and shows nothing.
  isWorking() {
    const {width, height} = this.canvas;
    this.context.fillRect(width - 1, height - 1, 1, 1);
    const [, , , alpha] = this.context.getImageData(width - 1, height - 1, 1, 1).data;
    this.context.clearRect(width - 1, height - 1, 1, 1);
    return alpha === 255;
  }

  draw({y, height, data}) {
    const {width, colorSpace} = this.facts;
    this.context.putImageData(new ImageData(data, width, height, {colorSpace}), 0, y);
  }

  // What is in the middle of the frame stays there.
  setZoom(zoom) {
    const frame = this.stage.parentElement;
    const middle = (start, shown, all) => (start + shown / 2) / all;
    const x = middle(frame.scrollLeft, frame.clientWidth, frame.scrollWidth);
    const y = middle(frame.scrollTop, frame.clientHeight, frame.scrollHeight);
    this.zoom = zoom;
    this.resize();
    frame.scrollLeft = x * frame.scrollWidth - frame.clientWidth / 2;
    frame.scrollTop = y * frame.scrollHeight - frame.clientHeight / 2;
  }

  resize() {
    const fit = this.zoom === 'fit';
    const scale = fit ? 0 : Number(this.zoom) / window.devicePixelRatio;
    this.stage.classList.toggle('fit', fit);
    this.stage.classList.toggle('large', !fit && Number(this.zoom) > 1);
    this.canvas.style.width = fit ? '' : `${this.canvas.width * scale}px`;
    this.canvas.style.height = fit ? '' : `${this.canvas.height * scale}px`;
  }

  // Show an original, an image file as Blob, or none.
  async setOriginal(blob) {
    URL.revokeObjectURL(this.original.src);
    this.original.removeAttribute('src');
    for (const id of ['original', 'split', 'left-tag', 'right-tag']) element(id).hidden = !blob;
    if (!blob) return;
    this.original.src = URL.createObjectURL(blob);
    await this.original.decode();
    this.moveSplit();
  }

  moveSplit() {
    this.stage.style.setProperty('--split', `${this.split.value}%`);
  }

  // Decibels between the decoded picture and an original, over R, G and B; null if their sizes are
  // not the same.
  async psnr(blob) {
    const bitmap = await createImageBitmap(blob, {colorSpaceConversion: 'none'});
    const {width, height} = this.canvas;
    if (bitmap.width !== width || bitmap.height !== height) return null;
    const context = new OffscreenCanvas(width, height).getContext('2d');
    context.drawImage(bitmap, 0, 0);
    const a = context.getImageData(0, 0, width, height).data;
    const b = this.context.getImageData(0, 0, width, height).data;
    let sum = 0;
    for (let i = 0; i < a.length; i++) if (i % 4 < 3) sum += (a[i] - b[i]) ** 2;
    return 10 * Math.log10((255 ** 2 * 3 * width * height) / sum);
  }

  // The decoded picture as a PNG file.
  toPng() {
    return new Promise((resolve) => this.canvas.toBlob(resolve, 'image/png'));
  }
}
