// From RGB pixels to the numbers that the vision graph reads, as config.json describes it.
//
// The same steps as `fit_square` and `PixelTransform.pixels` in Python; equal pixels give equal
// bits.

import { resize } from "./resampling.js";

/** Rounds halves to the even number, as Python's `round` does. */
export function roundHalfEven(value) {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest !== 0.5) return rest < 0.5 ? below : below + 1;
  return below % 2 === 0 ? below : below + 1;
}

/**
 * Fits an image into a square; the aspect is kept.
 *
 * @param {{width: number, height: number, pixels: Uint8ClampedArray}} image RGB, row by row.
 * @param {object} recipe the field `image` of config.json.
 * @returns {Uint8ClampedArray} image_size x image_size x 3.
 */
export function fitSquare(image, recipe) {
  const { image_size: size, fit, resample } = recipe.options;
  const { width, height } = image;
  if (fit === "crop") {
    const side = Math.min(width, height);
    const [left, top] = [(width - side) / 2, (height - side) / 2];
    return resize(image, size, size, resample, [left, top, left + side, top + side]).pixels;
  }
  const longest = Math.max(width, height);
  const fitted = [width, height].map((each) =>
    Math.max(1, roundHalfEven((each * size) / longest)),
  );
  const small = resize(image, fitted[0], fitted[1], resample);
  const square = new Uint8ClampedArray(size * size * 3);
  for (let at = 0; at < square.length; at++) square[at] = recipe.bar_color[at % 3];
  const [left, top] = fitted.map((each) => Math.floor((size - each) / 2));
  for (let row = 0; row < small.height; row++) {
    const from = row * small.width * 3;
    const line = small.pixels.subarray(from, from + small.width * 3);
    square.set(line, ((top + row) * size + left) * 3);
  }
  return square;
}

/**
 * Returns the input of the vision graph: channel, row, column.
 *
 * @param {{width: number, height: number, pixels: Uint8ClampedArray}} image RGB, row by row.
 * @param {object} recipe the field `image` of config.json.
 * @returns {Float32Array} 3 x image_size x image_size.
 */
export function pixelValues(image, recipe) {
  const square = fitSquare(image, recipe);
  const area = square.length / 3;
  const found = new Float32Array(square.length);
  for (let channel = 0; channel < 3; channel++) {
    const scale = Math.fround(recipe.scale[channel]);
    const shift = Math.fround(recipe.shift[channel]);
    for (let at = 0; at < area; at++) {
      // the product is rounded to float32 before the sum, as in NumPy
      found[channel * area + at] = Math.fround(square[at * 3 + channel] * scale) + shift;
    }
  }
  return found;
}
