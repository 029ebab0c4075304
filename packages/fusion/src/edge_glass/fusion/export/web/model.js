// The page's side of the worker: calls that return promises.

export class Model {
  constructor() {
    // A worker made from a blob inherits the page's content security policy, which forbids requests
    // to other servers; a worker made from a URL would not.
    const source = `import ${JSON.stringify(new URL("worker.js", import.meta.url).href)};`;
    const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    this.worker = new Worker(address, { type: "module" });
    this.waiting = new Map(); // id -> {resolve, reject}
    this.nextId = 0;
    /** Resolves to config.json when the model is loaded. */
    this.config = new Promise((resolve, reject) => {
      this.worker.onerror = (event) => reject(new Error(event.message || "the worker failed"));
      this.worker.onmessage = ({ data }) => {
        if (data.id === undefined) {
          if (data.error === undefined) resolve(data.config);
          else reject(new Error(data.error));
          return;
        }
        const { resolve: done, reject: fail } = this.waiting.get(data.id);
        this.waiting.delete(data.id);
        if (data.error === undefined) done(data.embedding);
        else fail(new Error(data.error));
      };
    });
  }

  /** Embeds {image: File} or {text}; returns a promise of a Float32Array. */
  embed(input) {
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, ...input });
    });
  }
}
