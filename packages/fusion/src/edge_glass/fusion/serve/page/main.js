// Starts the page: the token if the server needs one, then the two parts.

import { onTokenNeeded, requestJson } from "./api.js";
import { AskPanel } from "./ask.js";
import { SearchPanel } from "./search.js";

const get = (id) => document.getElementById(id);

function report(message) {
  get("problem").textContent = message;
  get("problem").hidden = !message;
  if (message) get("problem").scrollIntoView({ block: "nearest" });
}

let waiting = null; // one dialog serves all requests that need the token

function askForToken(refused) {
  waiting ??= new Promise((resolve) => {
    const problem = get("token-problem");
    problem.hidden = !refused;
    problem.textContent = refused ? "The server refused this token. Check it, and try again." : "";
    get("token-form").addEventListener(
      "submit",
      () => {
        const token = get("token").value.trim();
        get("token").value = "";
        waiting = null;
        resolve(token);
      },
      { once: true },
    );
    get("token-dialog").showModal();
  });
  return waiting;
}

async function start() {
  get("token-dialog").addEventListener("cancel", (event) => event.preventDefault());
  onTokenNeeded(askForToken);
  const about = await requestJson("about");
  get("models").textContent = about.models
    .map((model) => `${model.name} ${model.sha256.slice(0, 12)}`)
    .join(" · ");
  const ask = new AskPanel(about, report);
  const search = new SearchPanel(about, report, (found) => {
    ask.showFound(found);
    get("ask").scrollIntoView({ block: "start" });
    get(about.answers ? "question" : "ask").focus({ preventScroll: true });
  });
  get("similar").addEventListener("click", () => {
    get("search").scrollIntoView({ block: "start" });
    search.search({ image: ask.image }, get("image-name").textContent);
  });
  document.documentElement.dataset.ready = "true";
}

start().catch((error) => report(error.message));
