// The tokens of an answer with their probabilities; a token shows what else was probable.

const percent = (share) => `${(100 * share).toFixed(share > 0.9995 || share < 0.1 ? 1 : 0)}\u00a0%`;
const shown = (text) => (text === "" ? "(end)" : text.replaceAll(" ", "␣").replaceAll("\n", "⏎"));

/** A list of tokens below an answer; `add` appends one: {text, probability, alternatives}. */
export class TokenList {
  constructor(parent) {
    this.list = document.createElement("ul");
    this.list.className = "tokens";
    this.list.setAttribute("aria-label", "Tokens of the answer, with their probabilities");
    this.details = document.createElement("div");
    parent.append(this.list, this.details);
  }

  add(token) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.className = `token ${level(token.probability)}`;
    button.setAttribute("aria-expanded", "false");
    const score = document.createElement("small");
    score.textContent = percent(token.probability);
    button.append(shown(token.text), score);
    button.title = token.alternatives.map(([text, share]) => `${shown(text)} ${percent(share)}`).join("\n");
    button.addEventListener("click", () => this.toggle(button, token));
    item.append(button);
    this.list.append(item);
  }

  toggle(button, token) {
    const open = button.getAttribute("aria-expanded") === "true";
    for (const each of this.list.querySelectorAll("button")) {
      each.setAttribute("aria-expanded", "false");
    }
    this.details.replaceChildren();
    if (open) return;
    button.setAttribute("aria-expanded", "true");
    this.details.append(table(token));
  }
}

function table(token) {
  const found = document.createElement("table");
  found.className = "alternatives";
  found.createCaption().textContent = "Most probable at this place";
  for (const [text, share] of token.alternatives) {
    const row = found.insertRow();
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = shown(text);
    row.append(head);
    row.insertCell().textContent = percent(share);
    const bar = document.createElement("span");
    bar.className = "bar";
    bar.style.width = `${100 * share}%`;
    row.insertCell().append(bar);
  }
  return found;
}

function level(probability) {
  if (probability >= 0.8) return "high";
  return probability >= 0.4 ? "middle" : "low";
}
