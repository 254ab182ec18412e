/** The labels that objects may get, edited in place. */

import { h, icon, setText } from "./elements.js";

const MOST = 200;

export class Labels {
  #shown = null;

  constructor(editor) {
    this.editor = editor;
    this.about = h("p", { class: "about" });
    this.chips = h("ul", { class: "chips", "aria-label": "Labels" });
    this.input = h("input", {
      type: "text", id: "new-label", placeholder: "mug, red apple, …", autocomplete: "off",
      onkeydown: (event) => { if (event.key === "Escape") this.input.value = ""; },
      onpaste: (event) => this.#paste(event),
    });
    this.general = h("button", { type: "button", class: "link", onclick: () => editor.setLabels(null) }, "Use the general vocabulary");
    this.element = h("section", { class: "labels", "aria-labelledby": "labels-heading" },
      h("h2", { id: "labels-heading" }, "Labels"), this.about, this.chips,
      h("form", { class: "line", onsubmit: (event) => this.#submit(event) },
        h("label", { htmlFor: "new-label", class: "unseen" }, "New labels, separated by commas"), this.input,
        h("button", { type: "submit", class: "secondary" }, "Add")), this.general);
    editor.store.subscribe(({ vocabulary }) => this.#render(vocabulary));
  }

  #render(vocabulary) {
    if (vocabulary === this.#shown) return;
    this.#shown = vocabulary;
    const { labels, general } = vocabulary;
    setText(this.about, general
      ? `Objects are named among ${labels.length.toLocaleString("en")} general labels. Type your own to name among those.`
      : "Objects are named among these; what fits none is “unknown”.");
    this.general.hidden = general;
    const shown = general ? [] : labels.slice(0, MOST);
    this.chips.hidden = !shown.length;
    this.chips.replaceChildren(...shown.map((label) => h("li", {}, h("span", {}, label), h("button", {
      type: "button", title: `Remove ${label}`, "aria-label": `Remove ${label}`, onclick: () => this.#remove(label),
    }, icon("close")))), ...(labels.length > MOST && !general ? [h("li", { class: "more" }, `and ${labels.length - MOST} more`)] : []));
  }

  #submit(event) {
    event.preventDefault();
    this.#add(this.input.value);
  }

  #paste(event) {
    const text = event.clipboardData.getData("text");
    if (!text.includes("\n")) return;
    event.preventDefault();
    this.#add(text);
  }

  #add(text) {
    const { labels, general } = this.editor.state.vocabulary;
    const added = text.split(/[,\n]/).map((label) => label.trim()).filter(Boolean);
    if (!added.length) return;
    this.input.value = "";
    this.editor.setLabels([...new Set([...(general ? [] : labels), ...added])]);
  }

  #remove(label) {
    this.editor.setLabels(this.editor.state.vocabulary.labels.filter((one) => one !== label));
    this.input.focus();
  }
}
