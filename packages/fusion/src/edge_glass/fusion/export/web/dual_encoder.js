// The exported dual encoder: images and texts to normalised embeddings, on one thread.

import * as ort from "./runtime/ort.wasm.bundle.min.mjs";
import { pixelValues } from "./preprocessing.js";
import { TextTokenizer } from "./tokenizer.js";

// More threads need cross-origin isolation, which a plain file server does not give.
ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = {
  wasm: new URL("./runtime/ort-wasm-simd-threaded.wasm", import.meta.url).href,
};

async function read(name, kind) {
  const response = await fetch(new URL(name, import.meta.url));
  if (!response.ok) throw new Error(`${name}: the server answered ${response.status}`);
  return response[kind]();
}

export class DualEncoder {
  /** Loads config.json, the tokenizer and both graphs, which lie beside this file. */
  static async load() {
    const config = await read("config.json", "json");
    const graphs = config.graphs.int8 ?? config.graphs.fp32;
    const [vision, text, tokenizer, tokenizerConfig] = await Promise.all([
      read(graphs.vision_model, "arrayBuffer"),
      read(graphs.text_model, "arrayBuffer"),
      read(config.text.tokenizer, "json"),
      read("tokenizer_config.json", "json"),
    ]);
    const options = { executionProviders: ["wasm"], logSeverityLevel: 3 };
    return new DualEncoder(
      config,
      await ort.InferenceSession.create(vision, options),
      await ort.InferenceSession.create(text, options),
      new TextTokenizer(tokenizer, tokenizerConfig, config.text.max_tokens),
    );
  }

  constructor(config, vision, text, tokenizer) {
    this.config = config;
    this.vision = vision;
    this.text = text;
    this.tokenizer = tokenizer;
  }

  /** Embeds an image of `decodeImage`; returns a Float32Array of the largest dim. */
  async encodeImage(image) {
    const { image_size: size } = this.config.image.options;
    const values = pixelValues(image, this.config.image);
    const input = new ort.Tensor("float32", values, [1, 3, size, size]);
    return (await this.vision.run({ pixel_values: input })).image_embeds.data;
  }

  /** Embeds a text; returns a Float32Array of the largest dim. */
  async encodeText(text) {
    const ids = this.tokenizer.ids(text).map(BigInt);
    const shape = [1, ids.length];
    const inputs = {
      input_ids: new ort.Tensor("int64", BigInt64Array.from(ids), shape),
      attention_mask: new ort.Tensor("int64", new BigInt64Array(ids.length).fill(1n), shape),
    };
    return (await this.text.run(inputs)).text_embeds.data;
  }
}
