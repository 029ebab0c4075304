// Pillow's antialiased resize of 8-bit images, in its integer arithmetic.
//
// Source: Pillow 13, src/libImaging/Resample.c. Each axis is resized alone. The weights of an output
// pixel are fractions of 2^22, and each sum is rounded to a level of 0 to 255, so the order of the
// axes changes levels by 1. Before version 13 Pillow always began with the columns.

const PRECISION_BITS = 22;
const ONE = 1 << PRECISION_BITS;
const HALF = 1 << (PRECISION_BITS - 1);

const sinc = (x) => (x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI));

// name: [half width in pixels, weight of a pixel at a distance]
const FILTERS = {
  bilinear: [1, (x) => Math.max(0, 1 - Math.abs(x))],
  bicubic: [
    2,
    (x) => {
      const a = -0.5;
      const d = Math.abs(x);
      if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
      return d < 2 ? (((d - 5) * d + 8) * d - 4) * a : 0;
    },
  ],
  lanczos: [3, (x) => (-3 <= x && x < 3 ? sinc(x) * sinc(x / 3) : 0)],
};

/**
 * Computes which input pixels an output pixel is made of.
 *
 * @param {number} inputSize pixels of the axis.
 * @param {number} start where the part to resize begins, in pixels; may be a fraction.
 * @param {number} end where it ends.
 * @param {number} outputSize pixels of the result.
 * @param {string} filter a name of FILTERS.
 * @returns {{first: number, weights: Int32Array}[]} per output pixel.
 */
export function axisWeights(inputSize, start, end, outputSize, filter) {
  const [halfWidth, weightAt] = FILTERS[filter];
  const scale = (end - start) / outputSize;
  const filterScale = Math.max(scale, 1);
  const support = halfWidth * filterScale;
  const step = 1 / filterScale;
  return Array.from({ length: outputSize }, (_, at) => {
    const center = start + (at + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - support + 0.5));
    const last = Math.min(inputSize, Math.trunc(center + support + 0.5));
    const raw = new Float64Array(last - first);
    let sum = 0;
    for (let x = 0; x < raw.length; x++) {
      raw[x] = weightAt((x + first - center + 0.5) * step);
      sum += raw[x];
    }
    const weights = new Int32Array(raw.length);
    for (let x = 0; x < raw.length; x++) {
      const share = sum === 0 ? raw[x] : raw[x] / sum;
      weights[x] = Math.trunc(share * ONE + (share < 0 ? -0.5 : 0.5)); // half away from zero
    }
    return { first, weights };
  });
}

/**
 * Resizes one axis of an image with three channels.
 *
 * @param {Uint8Array | Uint8ClampedArray} pixels rows x columns x 3.
 * @param {number} rows of the input.
 * @param {number} columns of the input.
 * @param {boolean} vertical whether rows are resized, otherwise columns.
 * @param {{first: number, weights: Int32Array}[]} axis as `axisWeights` returns it.
 * @returns {Uint8ClampedArray} the resized pixels.
 */
function resizeAxis(pixels, rows, columns, vertical, axis) {
  const [outRows, outColumns] = vertical ? [axis.length, columns] : [rows, axis.length];
  const step = vertical ? columns * 3 : 3;
  const found = new Uint8ClampedArray(outRows * outColumns * 3);
  let at = 0;
  for (let row = 0; row < outRows; row++) {
    for (let column = 0; column < outColumns; column++) {
      const { first, weights } = axis[vertical ? row : column];
      let from = vertical ? (first * columns + column) * 3 : (row * columns + first) * 3;
      let red = HALF;
      let green = HALF;
      let blue = HALF;
      for (let x = 0; x < weights.length; x++, from += step) {
        red += pixels[from] * weights[x];
        green += pixels[from + 1] * weights[x];
        blue += pixels[from + 2] * weights[x];
      }
      // the sums stay within 32 bits; the array limits the levels to 0 and 255
      found[at++] = red >> PRECISION_BITS;
      found[at++] = green >> PRECISION_BITS;
      found[at++] = blue >> PRECISION_BITS;
    }
  }
  return found;
}

/**
 * Resizes a part of an image, as `Image.resize(size, filter, box)` of Pillow does.
 *
 * @param {{width: number, height: number, pixels: Uint8ClampedArray}} image RGB, row by row.
 * @param {number} width of the result.
 * @param {number} height of the result.
 * @param {string} filter bicubic, bilinear or lanczos.
 * @param {number[]} box left, top, right and bottom of the part; fractions are allowed.
 * @returns {{width: number, height: number, pixels: Uint8ClampedArray}} the resized part.
 */
export function resize(image, width, height, filter, box = [0, 0, image.width, image.height]) {
  const [left, top, right, bottom] = box;
  const { width: inWidth, height: inHeight } = image;
  let { pixels } = image;
  const resizeColumns = (rows) => {
    if (width === inWidth && left === 0 && right === width) return;
    const axis = axisWeights(inWidth, left, right, width, filter);
    pixels = resizeAxis(pixels, rows, inWidth, false, axis);
  };
  const resizeRows = (columns) => {
    if (height === inHeight && top === 0 && bottom === height) return;
    const axis = axisWeights(inHeight, top, bottom, height, filter);
    pixels = resizeAxis(pixels, inHeight, columns, true, axis);
  };
  const removedRows = inHeight - height;
  if (removedRows > 0 && removedRows > 2 * (inWidth - width)) {
    resizeRows(inWidth);
    resizeColumns(height);
  } else {
    resizeColumns(inHeight);
    resizeRows(width);
  }
  return { width, height, pixels };
}
