// The thread that runs the model, so that the page stays responsive.
//
// It receives {id, image: File} or {id, text} and answers {id, embedding} or {id, error}. When the
// model is loaded it posts {config}, or {error} if it can't be loaded.

import { DualEncoder } from "./dual_encoder.js";
import { decodeImage } from "./image_file.js";

const loading = DualEncoder.load();

loading.then(
  (encoder) => postMessage({ config: encoder.config }),
  (error) => postMessage({ error: String(error.message ?? error) }),
);

let last = loading; // one call at a time: a session can't run two at once

onmessage = ({ data: { id, image, text } }) => {
  last = last
    .then(async () => {
      const encoder = await loading;
      const embedding =
        image === undefined
          ? await encoder.encodeText(text)
          : await encoder.encodeImage(await decodeImage(image));
      postMessage({ id, embedding });
    })
    .catch((error) => postMessage({ id, error: String(error.message ?? error) }));
};
