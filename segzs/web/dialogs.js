/** The dialogs: choose an image, export, help. */

import { button, h, keyed } from "./elements.js";
import { count } from "./editor.js";
import { KEYS } from "./keys.js";
import { plain } from "./work.js";

const MOST = 300;

export class Dialogs {
  constructor(editor, gallery, root, { canUpload = true, settings }) {
    this.editor = editor;
    this.gallery = gallery;
    this.root = root;
    this.canUpload = canUpload;
    this.settings = settings;
  }

  /** Choose among the images, or bring a file. */
  images() {
    const { images, image } = this.editor.state;
    const rows = h("ul", { class: "choices" }), more = h("p", { class: "about" });
    const filter = h("input", { type: "search", placeholder: "Filter by name", "aria-label": "Filter by name", oninput: () => show() });
    const choose = (name) => { dialog.close(); this.gallery.open(name); };
    const show = () => {
      const hits = images.filter(({ name }) => name.toLowerCase().includes(filter.value.trim().toLowerCase()));
      keyed(rows, hits.slice(0, MOST), ({ name }) => name, ({ name }) => h("li", {},
        h("button", { type: "button", onclick: () => choose(name), "aria-current": name === image?.name ? "true" : null }, name)), () => {});
      more.textContent = hits.length > MOST ? `and ${hits.length - MOST} more; filter by name` : hits.length ? "" : "No image has this name.";
    };
    const file = h("input", { type: "file", accept: "image/*", class: "unseen", tabIndex: -1, "aria-hidden": "true", onchange: () => {
      dialog.close();
      if (file.files[0]) this.gallery.put(file.files[0]);
    } });
    const dialog = this.#open("Images", images.length > 8 && filter, rows, more,
      this.canUpload && h("div", { class: "buttons" }, file, button("plus", "Open a file", () => file.click(), { class: "secondary" }),
        h("p", { class: "about" }, "You can also drop or paste an image anywhere.")));
    show();
  }

  /** Choose a format and download the file. */
  export() {
    const { formats } = this.editor.state;
    this.editor.accept();
    const { segments, image } = this.editor.state;
    if (!segments.length) return this.editor.say("There is nothing to export.");
    const last = this.settings.get("format") ?? "coco";
    const fields = formats.map((format) => h("label", { class: "format" },
      h("input", { type: "radio", name: "format", value: format.name, checked: format.name === last }),
      h("span", {}, h("strong", {}, format.name), h("code", {}, format.folder ? "folder, zipped" : format.suffix),
        format.loses && h("small", {}, `leaves out ${format.loses}`))));
    const problem = h("p", { class: "problem", role: "alert" });
    const form = h("form", { onsubmit: async (event) => {
      event.preventDefault();
      const format = new FormData(form).get("format");
      this.settings.set("format", format);
      save.disabled = true;
      problem.textContent = "";
      try {
        const { name, blob } = await this.editor.backend.export(image.digest, format, segments.map(plain).map(onlyKnown));
        download(name, blob);
        dialog.close();
        this.editor.say(`Exported ${count(segments.length)} to ${name}.`);
      } catch (error) {
        problem.textContent = error.message;
      }
      save.disabled = false;
    } }, h("fieldset", {}, h("legend", {}, `${count(segments.length)} of ${image.name}`), fields), problem);
    const save = h("button", { type: "submit", class: "primary" }, "Download");
    form.append(h("div", { class: "buttons" }, save));
    const dialog = this.#open("Export", form);
    form.querySelector("input:checked")?.focus();
    return undefined;
  }

  /** The keys and the pointer. */
  help() {
    const rows = KEYS.map(([keys, what]) => h("tr", {}, h("th", { scope: "row" }, keys.flatMap((key, i) => [i ? " or " : "", h("kbd", {}, key)])), h("td", {}, what)));
    const single = h("input", { type: "checkbox", checked: this.settings.get("single-keys") !== "off",
      onchange: () => this.settings.set("single-keys", single.checked ? "on" : "off") });
    this.#open("Help", h("table", {}, h("tbody", {}, rows)), h("label", { class: "check" }, single, "Shortcuts of a single key"));
  }

  #open(title, ...content) {
    const dialog = h("dialog", { "aria-labelledby": "dialog-title", onclose: () => dialog.remove() },
      h("div", { class: "title" }, h("h2", { id: "dialog-title" }, title),
        button("close", "Close", () => dialog.close(), { class: "icon-only quiet" })), ...content.filter(Boolean));
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
    this.root.append(dialog);
    dialog.showModal();
    return dialog;
  }
}

function onlyKnown({ rle, name, probability, runners_up, predicted_iou, stability_score }) {
  return { rle, name, probability, runners_up, predicted_iou, stability_score };
}

function download(name, blob) {
  const link = h("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
