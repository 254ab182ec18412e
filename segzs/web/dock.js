/** The bar at the foot of the image: what is being outlined, what is under way, what went wrong. */

import { button, h, icon, setText } from "./elements.js";
import { nameField } from "./naming.js";
import { progressText } from "./searches.js";
import { confidence } from "./work.js";

export class Dock {
  #field = null;

  constructor(editor, searches, stage) {
    this.editor = editor;
    this.stage = stage;
    const { store } = editor;
    this.name = h("button", {
      type: "button", class: "current", title: "Rename (R)",
      onclick: () => store.set({ renaming: editor.state.draft?.id ?? null }),
    });
    this.slot = h("div", { class: "slot" }, this.name);
    this.accept = button("accept", "Accept", () => editor.accept(), { key: "Enter", class: "primary" });
    this.draft = h("div", { class: "card draft", role: "group", "aria-label": "The object that is being outlined" },
      this.slot, this.accept, button("close", "Discard", () => editor.discard(), { key: "Escape" }));
    this.bar = h("progress", { max: 1, "aria-label": "Progress" });
    this.what = h("span", {});
    this.task = h("div", { class: "card task", role: "group", "aria-label": "Search" },
      this.what, this.bar, button("close", "Cancel", () => searches.cancel(), { key: "Escape" }));
    this.message = h("span", {});
    this.again = h("button", { type: "button", onclick: () => editor.retry() }, "Try again");
    this.error = h("div", { class: "card error" }, this.message, this.again,
      h("button", { type: "button", title: "Dismiss", "aria-label": "Dismiss", onclick: () => store.set({ error: null }) }, icon("close")));
    this.element = h("div", { class: "dock" }, h("div", { role: "alert" }, this.error), this.task, this.draft);
    store.subscribe((state) => this.render(state));
    this.render(editor.state);
  }

  render({ draft, task, error, pending, encoded, renaming, vocabulary }) {
    this.error.hidden = !error;
    setText(this.message, error ?? "");
    this.again.hidden = !draft || draft.answered;
    this.task.hidden = !task;
    if (task) {
      setText(this.what, progressText(task));
      this.bar.value = task.done;
    }
    this.draft.hidden = !draft;
    this.draft.classList.toggle("busy", pending);
    if (!draft) return this.#close();
    const { segment } = draft;
    this.accept.disabled = !segment;
    this.name.disabled = !segment;
    this.name.replaceChildren(...(segment
      ? [h("strong", {}, segment.name || "no name"), h("span", { class: "share" }, confidence(segment)), icon("rename")]
      : [h("span", {}, pending ? (encoded ? "Outlining …" : "Encoding the image, once …") : "No outline")]));
    const isRenamed = renaming === draft.id && segment;
    if (isRenamed && !this.#field) {
      this.#field = nameField(segment, vocabulary.labels, (text) => this.#renamed(draft.id, text));
      this.slot.replaceChildren(this.#field);
    } else if (!isRenamed) this.#close();
    return undefined;
  }

  #close() {
    if (!this.#field) return;
    this.#field = null;
    this.slot.replaceChildren(this.name);
  }

  #renamed(id, text) {
    if (text === null) this.editor.store.set({ renaming: null });
    else this.editor.rename(id, text);
    requestAnimationFrame(() => this.stage.element.focus()); // so that Enter accepts
  }
}
