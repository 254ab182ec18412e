/** The bar above the image: images, undo, everything, find, export, help. */

import { button, h, icon, setText } from "./elements.js";

export class Bar {
  constructor(editor, { gallery, searches, dialogs }) {
    const words = h("input", {
      type: "search", id: "find-words", placeholder: "Find, such as red mug", autocomplete: "off", enterKeyHint: "search",
    });
    this.words = words;
    this.previous = button("previous", "Previous image", () => gallery.step(-1), { key: "[", class: "icon-only" });
    this.next = button("next", "Next image", () => gallery.step(1), { key: "]", class: "icon-only" });
    this.name = h("span", { class: "file-name" });
    this.position = h("span", { class: "position" });
    this.images = h("button", { type: "button", class: "images", title: "Choose an image (O)", onclick: () => dialogs.images() },
      icon("image"), this.name, this.position);
    this.undo = button("undo", "Undo", () => editor.undo(), { key: "Ctrl+Z", class: "icon-only" });
    this.redo = button("redo", "Redo", () => editor.redo(), { key: "Ctrl+Shift+Z", class: "icon-only" });
    this.everything = button("everything", "Everything", () => searches.everything(), { key: "A" });
    this.export = button("download", "Export", () => dialogs.export(), { key: "Ctrl+S", class: "primary" });
    this.find = h("form", { class: "find", role: "search", onsubmit: (event) => {
      event.preventDefault();
      searches.find(words.value);
    } }, icon("find"), h("label", { htmlFor: "find-words", class: "unseen" }, "Find objects by words"), words);
    this.element = h("header", { class: "bar" },
      h("h1", { class: "brand" }, "segzs"),
      h("div", { class: "group files" }, this.previous, this.images, this.next),
      h("div", { class: "group history" }, this.undo, this.redo),
      h("div", { class: "group searches" }, this.everything, this.find),
      h("div", { class: "group ends" }, this.export, button("help", "Help", () => dialogs.help(), { key: "?", class: "icon-only" })));
    const render = (state) => {
      const { images, image, segments, loading } = state, index = gallery.index;
      setText(this.name, loading ? "Opening …" : image?.name ?? "Open an image");
      setText(this.position, images.length > 1 && index >= 0 ? `${index + 1} of ${images.length}` : "");
      this.previous.disabled = index <= 0;
      this.next.disabled = index < 0 || index >= images.length - 1;
      this.undo.disabled = !editor.store.canUndo;
      this.redo.disabled = !editor.store.canRedo;
      this.everything.disabled = words.disabled = !image || loading;
      this.export.disabled = !segments.length && !state.draft?.segment;
    };
    editor.store.subscribe(render);
    render(editor.state);
  }
}
