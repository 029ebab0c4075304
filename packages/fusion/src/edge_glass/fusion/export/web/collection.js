// The embedded images of the visitor, and their ranking at any dim.

/** Cosine of the first `dim` numbers of two embeddings, in float64. */
export function cosine(one, other, dim) {
  let dot = 0;
  let left = 0;
  let right = 0;
  for (let at = 0; at < dim; at++) {
    dot += one[at] * other[at];
    left += one[at] * one[at];
    right += other[at] * other[at];
  }
  return dot / (Math.sqrt(left * right) || 1);
}

const areEqual = (one, other) => one.embedding.every((value, at) => value === other.embedding[at]);

export class Collection {
  constructor() {
    this.images = new Map(); // path -> {path, file, embedding}
  }

  get size() {
    return this.images.size;
  }

  has(path) {
    return this.images.has(path);
  }

  add(path, file, embedding) {
    this.images.set(path, { path, file, embedding });
  }

  /**
   * Ranks the images by their likeness to a query.
   *
   * @param {Float32Array} query an embedding.
   * @param {number} dim how many numbers are compared.
   * @param {number} top how many images to return.
   * @returns {{path: string, file: File, score: number, copies: number}[]} best first, equal scores
   *   by path. Images with equal embeddings are listed once, with the number of copies.
   */
  search(query, dim, top) {
    const scored = [...this.images.values()].map((each) => ({
      ...each,
      score: cosine(query, each.embedding, dim),
      copies: 0,
    }));
    scored.sort((a, b) => b.score - a.score || (a.path < b.path ? -1 : 1));
    const found = [];
    for (const each of scored) {
      // copies have the same score, so the earlier one is among the last of the list
      const first = found.findLast((other) => other.score === each.score && areEqual(other, each));
      if (first) first.copies++;
      else if (found.length === top) break;
      else found.push(each);
    }
    return found;
  }
}
