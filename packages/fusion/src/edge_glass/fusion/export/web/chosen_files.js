// The files that a visitor chose or dropped, with their paths.

const NAMES = /\.(avif|bmp|gif|ico|jpe?g|jfif|png|webp|tiff?|heic|heif|jxl)$/i;

/** Returns the files of an input as [{path, file}]; only those with an image's name or type. */
export function filesOfInput(input) {
  return [...input.files].map(named).filter(isImage);
}

/** Returns the files of a drop, those in folders too, as [{path, file}]. */
export async function filesOfDrop(transfer) {
  // entries must be taken before the first wait: a drop is empty after its event
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (entries.length === 0) return [...transfer.files].map(named).filter(isImage);
  const found = [];
  for (const entry of entries) await walk(entry, found);
  return found.filter(isImage);
}

const named = (file) => ({ path: file.webkitRelativePath || file.name, file });

const isImage = ({ path, file }) => NAMES.test(path) || file.type.startsWith("image/");

async function walk(entry, found) {
  if (entry.isFile) {
    const file = await new Promise((done, fail) => entry.file(done, fail));
    found.push({ path: entry.fullPath.replace(/^\//, ""), file });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    // a reader returns a folder in parts, and an empty list at its end
    const part = await new Promise((done, fail) => reader.readEntries(done, fail));
    if (part.length === 0) return;
    for (const each of part) await walk(each, found);
  }
}
