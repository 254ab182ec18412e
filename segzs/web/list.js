/** The list of segments: what the canvas shows, for reading, for the keyboard and for screen readers. */

import { css, palette } from "./colours.js";
import { button, h, icon, keyed, setText } from "./elements.js";
import { count } from "./editor.js";
import { nameField } from "./naming.js";
import { confidence } from "./work.js";

export class SegmentList {
  constructor(editor) {
    this.editor = editor;
    this.heading = h("h2", { id: "segments-heading" }, "Segments");
    this.eye = h("button", { type: "button", class: "quiet", onclick: () => toggleMasks(editor) });
    this.rows = h("ul", { class: "rows", "aria-labelledby": "segments-heading", onkeydown: (event) => this.#key(event) });
    this.empty = h("p", { class: "empty" }, "Nothing is outlined yet. Click on an object, draw a box around it, or choose Everything.");
    this.element = h("section", { class: "segments", "aria-labelledby": "segments-heading" },
      h("div", { class: "title" }, this.heading, this.eye), this.empty, this.rows);
    editor.store.subscribe((state) => this.render(state));
  }

  /** Focus the row of the selected segment, or the first one. */
  focus() {
    const rows = [...this.rows.querySelectorAll(".row")];
    (rows.find((row) => row.tabIndex === 0) ?? rows[0])?.focus();
  }

  render({ segments, selected, hovered, renaming, masksVisible, vocabulary }) {
    setText(this.heading, segments.length ? count(segments.length) : "Segments");
    this.empty.hidden = segments.length > 0;
    this.eye.hidden = !segments.length;
    this.eye.title = `${masksVisible ? "Hide" : "Show"} the masks (M)`;
    this.eye.setAttribute("aria-label", `${masksVisible ? "Hide" : "Show"} the masks`);
    this.eye.replaceChildren(icon(masksVisible ? "shown" : "hidden"));
    const colours = palette(segments.map((segment) => segment.name));
    const current = segments.some((one) => one.id === selected) ? selected : segments[0]?.id;
    keyed(this.rows, segments, (segment) => segment.id, () => this.#make(), (item, segment) => {
      const { row, swatch, name, share, actions } = item.parts;
      const isSelected = segment.id === selected, isRenamed = segment.id === renaming;
      item.classList.toggle("selected", isSelected);
      item.classList.toggle("hovered", segment.id === hovered);
      row.tabIndex = segment.id === current ? 0 : -1;
      row.setAttribute("aria-pressed", String(isSelected));
      swatch.style.background = css(colours.get(segment.name));
      setText(name, segment.name || "no name");
      setText(share, confidence(segment));
      share.classList.toggle("yours", segment.renamed);
      actions.hidden = !isSelected || isRenamed;
      row.hidden = isRenamed;
      if (isRenamed && !item.field) {
        item.field = nameField(segment, vocabulary.labels, (text) => this.#renamed(segment, text));
        item.append(item.field);
      } else if (!isRenamed && item.field) {
        item.field.remove();
        item.field = null;
      }
      if (isSelected && !item.wasSelected) item.scrollIntoView({ block: "nearest" });
      item.wasSelected = isSelected;
    });
  }

  #make() {
    const { editor } = this;
    const swatch = h("span", { class: "swatch" }), name = h("span", { class: "name" }), share = h("span", { class: "share" });
    const item = h("li", {}), id = () => Number(item.dataset.key);
    const row = h("button", {
      type: "button", class: "row",
      onclick: () => editor.select(id()), ondblclick: () => editor.store.set({ renaming: id() }),
      onpointerenter: () => editor.store.set({ hovered: id() }), onpointerleave: () => editor.store.set({ hovered: null }),
    }, swatch, name, share);
    const actions = h("div", { class: "actions" },
      button("rename", "Rename", () => editor.store.set({ renaming: id() }), { key: "R" }),
      button("refine", "Refine", () => editor.refine(id()), { key: "E" }),
      button("remove", "Delete", () => { editor.remove([id()]); this.focus(); }, { key: "Delete" }));
    item.append(row, actions);
    item.parts = { row, swatch, name, share, actions };
    return item;
  }

  #renamed(segment, text) {
    if (text === null) this.editor.store.set({ renaming: null });
    else this.editor.rename(segment.id, text);
    requestAnimationFrame(() => this.focus());
  }

  #key(event) {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key], { segments, selected } = this.editor.state;
    if (event.target.closest(".name-field")) return;
    const index = segments.findIndex((segment) => segment.id === selected);
    const to = by ? index + by : { Home: 0, End: segments.length - 1 }[event.key];
    if (to === undefined || !segments.length) return;
    event.preventDefault();
    this.editor.select(segments[Math.max(0, Math.min(segments.length - 1, to))].id);
    queueMicrotask(() => this.focus());
  }
}

/** Hide the masks, or show them again. */
export function toggleMasks(editor) {
  editor.store.set({ masksVisible: !editor.state.masksVisible });
}
