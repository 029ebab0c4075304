// The part "Ask": one image, its attention, and questions about it.

import { imageUrl, requestJson, requestLines } from "./api.js";
import { AttentionView } from "./attention.js";
import { asDataUri, receiveImages } from "./image_input.js";
import { TokenList } from "./tokens.js";

const get = (id) => document.getElementById(id);

export class AskPanel {
  /** `about` is what the server sent of itself; `report` shows a message, or "" for none. */
  constructor(about, report) {
    Object.assign(this, { about, report, image: null, history: [], busy: false });
    this.attention = new AttentionView(get("attention"), get("maps"), get("heat"), get("strongest"));
    receiveImages(get("drop"), [get("choose"), get("photograph")], (file) => this.showFile(file));
    get("question-form").hidden = !about.answers;
    get("question-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.ask();
    });
  }

  /** Shows an image from a file of the visitor. */
  async showFile(file) {
    try {
      const image = await asDataUri(file, this.about.max_body_bytes);
      await this.show(image, URL.createObjectURL(file), file.name);
    } catch (error) {
      this.report(error.message);
    }
  }

  /** Shows an image of the server's folder. */
  async showFound(found) {
    try {
      await this.show(found.id, await imageUrl(found.id, 1024), found.name);
    } catch (error) {
      this.report(error.message);
    }
  }

  /** Shows an image; `image` is what requests send: a data URI or an id. */
  async show(image, url, name) {
    this.report("");
    const last = get("image").src;
    if (last.startsWith("blob:")) URL.revokeObjectURL(last);
    Object.assign(this, { image, history: [] });
    this.attention.clear();
    get("turns").replaceChildren();
    get("image").src = url;
    get("image").alt = `The image to ask about: ${name}`;
    get("image-name").textContent = name;
    get("figure").hidden = false;
    get("drop-hint").hidden = true;
    get("similar").hidden = !this.about.search;
    const attention = await requestJson("attention", { image });
    if (this.image === image) this.attention.show(attention);
  }

  async ask() {
    const question = get("question").value.trim();
    if (this.busy) return;
    if (this.image === null) return this.report("Choose an image first.");
    if (!question) return this.report("Write a question first.");
    this.report("");
    this.setBusy(true);
    const { image, history } = this; // a different image begins a history of its own
    const turn = document.createElement("li");
    const asked = Object.assign(document.createElement("p"), { className: "asked" });
    asked.textContent = question;
    const answer = Object.assign(document.createElement("p"), { className: "answer waiting" });
    turn.append(asked, answer);
    get("turns").prepend(turn);
    const tokens = new TokenList(turn);
    try {
      const body = { image, question, history: this.about.conversations ? history : [] };
      let text = "";
      for await (const event of requestLines("ask", body)) {
        text += event.text ?? "";
        answer.textContent = text;
        if (event.token) tokens.add(event.token);
        if (event.attention && this.image === image) this.attention.show(event.attention);
      }
      if (!text) answer.textContent = "(no answer)";
      history.push(question, text);
      get("question").select();
    } catch (error) {
      turn.remove();
      this.report(error.message);
    } finally {
      answer.classList.remove("waiting");
      this.setBusy(false);
    }
  }

  // Not `disabled`: a disabled button would lose the focus of the keyboard.
  setBusy(busy) {
    this.busy = busy;
    get("send").setAttribute("aria-disabled", String(busy));
  }
}
