// The part "Search": a query, the images found, and a slider that ranks them at other dims.

import { imageUrl, requestJson } from "./api.js";
import { asDataUri } from "./image_input.js";

const get = (id) => document.getElementById(id);
const SHOWN = 24;
const THUMBNAIL = 256;

export class SearchPanel {
  /** `choose` receives the image that a visitor selects. */
  constructor(about, report, choose) {
    Object.assign(this, { about, report, choose, answer: null, tiles: new Map(), query: 0 });
    if (!about.search) return;
    get("search").hidden = false;
    get("found").textContent = `${about.search.num_images.toLocaleString("en")} images`;
    const { dims } = about.search;
    const slider = get("dim");
    slider.max = dims.length - 1;
    slider.value = 0;
    for (const dim of dims) {
      get("ticks").append(Object.assign(document.createElement("span"), { textContent: dim }));
    }
    slider.addEventListener("input", () => this.rank());
    get("search-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const text = get("text").value.trim();
      if (!text) return this.report("Write a text to search for.");
      this.search({ text }, `“${text}”`);
    });
    get("search-image").addEventListener("change", (event) => this.searchFile(event.target));
  }

  async searchFile(input) {
    const [file] = input.files;
    if (!file) return;
    try {
      const image = await asDataUri(file, this.about.max_body_bytes);
      await this.search({ image }, file.name);
    } catch (error) {
      this.report(error.message);
    }
    input.value = "";
  }

  /** Searches for a text or an image; `name` is the query in words. */
  async search(query, name) {
    this.report("");
    const number = ++this.query;
    get("found").textContent = "Searching…";
    try {
      const answer = await requestJson("search", query);
      if (number !== this.query) return; // a later search has begun
      this.answer = answer;
      get("found").textContent =
        `${answer.num_images.toLocaleString("en")} images compared with ${name}`;
      get("dim-box").hidden = false;
      this.rank();
    } catch (error) {
      get("found").textContent = "";
      this.report(error.message);
    }
  }

  /** Shows the ranking at the slider's dim; the server sent those of all dims at once. */
  rank() {
    const { dims } = this.about.search;
    const dim = dims[get("dim").value];
    get("dim-value").textContent = `${dim} of ${dims[0]}`;
    get("dim").setAttribute("aria-valuetext", `${dim} numbers`);
    if (!this.answer) return;
    const { images, rankings } = this.answer;
    const best = rankings[dim].slice(0, SHOWN);
    const full = new Set(rankings[dims[0]].slice(0, SHOWN).map(([place]) => place));
    const kept = best.filter(([place]) => full.has(place)).length;
    get("overlap").textContent =
      `${kept} of these ${best.length} images are also found with all ${dims[0]} numbers. ` +
      `An embedding takes ${(4 * dim).toLocaleString("en")} bytes.`;
    const before = new Map([...this.tiles].map(([id, tile]) => [id, tile.getBoundingClientRect()]));
    const tiles = best.map(([place, score], rank) => this.tile(images[place], score, rank + 1));
    get("results").replaceChildren(...tiles);
    this.tiles = new Map(best.map(([place], rank) => [images[place].id, tiles[rank]]));
    this.move(before);
  }

  tile(image, score, rank) {
    const tile = this.tiles.get(image.id) ?? this.newTile(image);
    const copies = image.copies ? `, and ${image.copies} more with the same content` : "";
    tile.querySelector(".score").replaceChildren(
      Object.assign(document.createElement("span"), { textContent: rank }),
      Object.assign(document.createElement("span"), { textContent: score.toFixed(3) }),
    );
    tile.firstChild.title = `Ask about ${image.name}${copies}`;
    return tile;
  }

  newTile(image) {
    const tile = document.createElement("li");
    const button = Object.assign(document.createElement("button"), { type: "button", className: "result" });
    const picture = Object.assign(document.createElement("img"), { alt: "", width: 160, height: 160 });
    const name = Object.assign(document.createElement("span"), { className: "name", textContent: image.name });
    const score = Object.assign(document.createElement("span"), { className: "score" });
    button.append(picture, name, score);
    button.addEventListener("click", () => {
      get("results").querySelector("[aria-current]")?.removeAttribute("aria-current");
      button.setAttribute("aria-current", "true");
      this.choose(image);
    });
    tile.append(button);
    picture.addEventListener("load", () => URL.revokeObjectURL(picture.src), { once: true });
    imageUrl(image.id, THUMBNAIL).then(
      (url) => { picture.src = url; },
      () => { name.textContent = `${image.name} (gone)`; },
    );
    return tile;
  }

  /** Lets the tiles glide from their former places, unless the visitor wants no motion. */
  move(before) {
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    for (const [id, tile] of this.tiles) {
      const from = before.get(id);
      if (!from) continue;
      const to = tile.getBoundingClientRect();
      const shift = `translate(${from.x - to.x}px, ${from.y - to.y}px)`;
      if (from.x !== to.x || from.y !== to.y) {
        tile.animate([{ transform: shift }, { transform: "none" }], { duration: 250, easing: "ease-out" });
      }
    }
  }
}
