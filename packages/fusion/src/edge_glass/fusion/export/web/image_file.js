// A file of the visitor as upright RGB pixels in sRGB, with white behind clear parts.

/**
 * Decodes an image file.
 *
 * The browser turns it as its EXIF orientation requires, and converts its colour profile to sRGB.
 *
 * @param {Blob} file the content of an image.
 * @returns {Promise<{width: number, height: number, pixels: Uint8ClampedArray}>} RGB, row by row.
 */
export async function decodeImage(file) {
  const bitmap = await createImageBitmap(file, {
    imageOrientation: "from-image",
    premultiplyAlpha: "none",
    colorSpaceConversion: "default",
  });
  const { width, height } = bitmap;
  try {
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d", { colorSpace: "srgb", willReadFrequently: true });
    context.fillStyle = "white";
    context.fillRect(0, 0, width, height);
    context.drawImage(bitmap, 0, 0);
    const { data } = context.getImageData(0, 0, width, height);
    const pixels = new Uint8ClampedArray(width * height * 3);
    for (let from = 0, to = 0; from < data.length; from += 4) {
      pixels[to++] = data[from];
      pixels[to++] = data[from + 1];
      pixels[to++] = data[from + 2];
    }
    return { width, height, pixels };
  } finally {
    bitmap.close();
  }
}
