// The page: chosen images go to the model one by one; a query ranks those that are embedded.

import { filesOfDrop, filesOfInput } from "./chosen_files.js";
import { Collection } from "./collection.js";
import { Model } from "./model.js";
import { ResultList } from "./result_list.js";

const NUM_RESULTS = 24;

const element = (id) => document.getElementById(id);
const model = new Model();
const collection = new Collection();
const results = new ResultList(element("results"));
const waiting = new Map(); // path -> file, in the order of the choice
const leftOut = new Map(); // path -> reason
let dims = [];
let query = null; // embedding of the text in the field
let lastText = "";
let isReading = false;

const status = (text) => (element("status").textContent = text);
const counted = (number) => `${number} ${number === 1 ? "image" : "images"}`;

function addFiles(found) {
  if (found.length === 0) status("No image was found among the chosen files.");
  for (const { path, file } of found) {
    if (!collection.has(path)) waiting.set(path, file);
  }
  readWaiting();
}

async function readWaiting() {
  if (isReading || dims.length === 0 || waiting.size === 0) return;
  isReading = true;
  const progress = element("progress");
  progress.hidden = false;
  for (const [path, file] of waiting) {
    try {
      collection.add(path, file, await model.embed({ image: file }));
      leftOut.delete(path);
    } catch (error) {
      leftOut.set(path, error.message);
    }
    waiting.delete(path);
    const done = collection.size + leftOut.size;
    progress.max = done + waiting.size;
    progress.value = done;
    if (waiting.size === 0 || done % 10 === 0) {
      status(`${counted(collection.size)} of ${done + waiting.size} can be searched.`);
      rank();
    }
  }
  progress.hidden = true;
  isReading = false;
  status(`${counted(collection.size)} can be searched.`);
  showLeftOut();
}

function showLeftOut() {
  const details = element("left-out");
  details.hidden = leftOut.size === 0;
  details.querySelector("summary").textContent = `${counted(leftOut.size)} left out`;
  const lines = [...leftOut].map(([path, reason]) => {
    const line = document.createElement("li");
    line.textContent = `${path}: ${reason}`;
    return line;
  });
  details.querySelector("ul").replaceChildren(...lines);
}

async function readQuery() {
  const text = element("query").value.trim();
  if (text === lastText || dims.length === 0) return;
  lastText = text;
  const found = text === "" ? null : await model.embed({ text });
  if (text !== lastText) return; // the visitor went on typing
  query = found;
  rank();
}

function rank() {
  const dim = dims[element("dim").value];
  element("dim-shown").textContent = dim;
  element("dim").setAttribute("aria-valuetext", `${dim} numbers`);
  results.show(query === null ? [] : collection.search(query, dim, NUM_RESULTS), lastText);
}

for (const id of ["folder", "files"]) {
  element(id).addEventListener("change", ({ target }) => {
    addFiles(filesOfInput(target));
    target.value = ""; // the same choice again is a change
  });
}
const isOver = (over) => element("drop").classList.toggle("over", over);
addEventListener("dragover", (event) => {
  event.preventDefault();
  isOver(true);
});
addEventListener("dragleave", () => isOver(false));
addEventListener("drop", async (event) => {
  event.preventDefault();
  isOver(false);
  addFiles(await filesOfDrop(event.dataTransfer));
});
element("query").addEventListener("input", readQuery);
element("dim").addEventListener("input", rank);

try {
  const config = await model.config;
  dims = [...config.matryoshka_dims].sort((a, b) => a - b);
  element("dim").max = dims.length - 1; // before the value, which it limits
  element("dim").value = dims.length - 1;
  status("The model is loaded. Choose images.");
  rank();
  readWaiting();
  readQuery();
} catch (error) {
  status(`The model can't be loaded: ${error.message}. Reload the page.`);
}
