// The found images as a list of links, each with its rank, score and path.

export class ResultList {
  /** @param {HTMLOListElement} list that is filled. */
  constructor(list) {
    this.list = list;
    this.addresses = new Map(); // file -> address for <img>, of the images that are shown
  }

  /** Shows found images, best first, for a query. */
  show(found, query) {
    const old = this.addresses;
    this.addresses = new Map();
    for (const { file } of found) {
      this.addresses.set(file, old.get(file) ?? URL.createObjectURL(file));
      old.delete(file);
    }
    this.list.replaceChildren(...found.map((each, at) => this.#item(each, at + 1)));
    this.list.setAttribute("aria-label", query ? `Results for ${query}` : "Results");
    for (const address of old.values()) URL.revokeObjectURL(address);
  }

  #item({ path, file, score, copies }, rank) {
    const image = document.createElement("img");
    image.src = this.addresses.get(file);
    image.alt = "";
    const caption = document.createElement("span");
    const others = copies === 0 ? "" : copies === 1 ? ", and a copy" : `, and ${copies} copies`;
    caption.textContent = `${rank} · ${score.toFixed(4)} · ${path}${others}`;
    const link = document.createElement("a");
    link.href = image.src;
    link.target = "_blank";
    link.append(image, caption);
    const item = document.createElement("li");
    item.dataset.path = path;
    item.append(link);
    return item;
  }
}
