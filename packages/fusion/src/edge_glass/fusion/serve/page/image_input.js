// Images that a person drops, pastes, chooses or photographs.

const LARGEST_SIDE = 2048;

/** Calls `receive` with each file that is given to the inputs, dropped on the box or pasted. */
export function receiveImages(box, inputs, receive) {
  for (const input of inputs) {
    input.addEventListener("change", () => {
      if (input.files.length) receive(input.files[0]);
      input.value = ""; // so that the same file can be chosen again
    });
  }
  box.addEventListener("dragover", (event) => {
    event.preventDefault();
    box.classList.add("over");
  });
  box.addEventListener("dragleave", () => box.classList.remove("over"));
  box.addEventListener("drop", (event) => {
    event.preventDefault();
    box.classList.remove("over");
    if (event.dataTransfer.files.length) receive(event.dataTransfer.files[0]);
  });
  document.addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find((each) => each.type.startsWith("image/"));
    if (file) receive(file);
  });
}

/** Returns a file as a data URI; an image beyond the server's limit is sent smaller, as JPEG. */
export async function asDataUri(file, maxBytes) {
  const limit = (maxBytes * 3) / 4 - 4096; // base64 takes 4 bytes for 3
  return readDataUri(file.size <= limit ? file : await smaller(file));
}

async function smaller(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Error("This file is too large for the server. Choose a smaller image.");
  }
  const scale = Math.min(1, LARGEST_SIDE / Math.max(bitmap.width, bitmap.height));
  const size = [bitmap.width, bitmap.height].map((each) => Math.max(1, Math.round(each * scale)));
  const canvas = new OffscreenCanvas(...size);
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff"; // what the models read behind transparent parts
  context.fillRect(0, 0, ...size);
  context.drawImage(bitmap, 0, 0, ...size);
  bitmap.close();
  return canvas.convertToBlob({ type: "image/jpeg", quality: 0.92 });
}

function readDataUri(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new Error("The file cannot be read. Choose it again."));
    reader.readAsDataURL(blob);
  });
}
