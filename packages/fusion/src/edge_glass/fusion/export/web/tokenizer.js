// Texts to token ids, cut to the model's limit as the Python package `tokenizers` cuts them.

import { Tokenizer } from "./runtime/tokenizers.min.mjs";

export class TextTokenizer {
  /**
   * @param {object} tokenizer content of tokenizer.json.
   * @param {object} config content of tokenizer_config.json.
   * @param {number} maxTokens limit, with the special tokens.
   */
  constructor(tokenizer, config, maxTokens) {
    this.tokenizer = new Tokenizer(tokenizer, config);
    this.maxTokens = maxTokens;
  }

  /** Returns the ids of a text, between its special tokens. */
  ids(text) {
    const { ids } = this.tokenizer.encode(text);
    if (ids.length <= this.maxTokens) return ids;
    // The special tokens stand around the text: remove tokens from its end only.
    const words = this.tokenizer.encode(text, { add_special_tokens: false }).ids;
    const numSpecial = ids.length - words.length;
    let start = 0;
    while (start < numSpecial && words.some((id, at) => id !== ids[start + at])) start++;
    const end = start + this.maxTokens - numSpecial;
    return [...ids.slice(0, end), ...ids.slice(start + words.length)];
  }
}
