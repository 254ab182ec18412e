/** The page: the parts, joined over one editor. */

import { Bar } from "./bar.js";
import { Dialogs } from "./dialogs.js";
import { Dock } from "./dock.js";
import { Editor } from "./editor.js";
import { button, h, setText } from "./elements.js";
import { Gallery } from "./gallery.js";
import { onKeys } from "./keys.js";
import { Labels } from "./labels.js";
import { SegmentList } from "./list.js";
import { Searches } from "./searches.js";
import { Stage } from "./stage.js";

/**
 * Put the page into an element or a shadow root.
 *
 * @param backend `HttpBackend`, or another object with its methods.
 * @param options.keys the element or document whose keys are listened to.
 * @param options.isEmbedded whether the page is a part of another one: the wheel then zooms only with Ctrl.
 */
export function mount(root, backend, { keys = root, isEmbedded = false } = {}) {
  const editor = new Editor(backend), gallery = new Gallery(editor), searches = new Searches(editor);
  editor.searches = searches;
  const settings = new Settings();
  const main = h("main", { class: "segzs" });
  const dialogs = new Dialogs(editor, gallery, main, { canUpload: !isEmbedded, settings });
  const bar = new Bar(editor, { gallery, searches, dialogs });
  const stage = new Stage(editor, { wheelNeedsControl: isEmbedded });
  const list = new SegmentList(editor), labels = new Labels(editor), dock = new Dock(editor, searches, stage);
  const status = h("p", { class: "status", role: "status" });
  const empty = h("div", { class: "nothing", hidden: true }, h("p", {}, "Drop an image here, or paste one."),
    button("plus", "Open an image", () => dialogs.images(), { class: "primary" }));
  const tools = h("div", { class: "tools", role: "toolbar", "aria-label": "Tools" },
    tool(editor, "segment", "Segment", "S"), tool(editor, "select", "Select and move", "V"));
  const zooms = h("div", { class: "tools zooms", role: "toolbar", "aria-label": "Zoom" },
    button("plus", "Zoom in", () => stage.zoomBy(), { key: "+", class: "icon-only" }),
    button("minus", "Zoom out", () => stage.zoomOut(), { key: "-", class: "icon-only" }),
    button("fit", "Whole image", () => stage.fit(), { key: "0", class: "icon-only" }));
  const encoding = h("p", { class: "encoding" }, "Encoding the image, once …");
  main.append(bar.element,
    h("section", { class: "stage", "aria-label": "Image" }, stage.element, tools, zooms, encoding, empty, dock.element, status),
    h("aside", { class: "side", "aria-label": "Segments and labels" }, list.element, labels.element));
  if (isEmbedded) main.classList.add("embedded");
  root.append(main);

  let isReady = false;
  editor.store.subscribe((state) => {
    setText(status, state.status);
    empty.hidden = !isReady || Boolean(state.image) || state.loading;
    encoding.hidden = !state.image || state.encoded || state.loading;
    main.setAttribute("aria-busy", String(state.loading || state.pending));
  });
  onKeys(keys, { editor, stage, list, gallery, searches, bar, dialogs, labels, isActive: () => settings.get("single-keys") !== "off" });
  if (!isEmbedded) onFiles(main, (file) => gallery.put(file));
  gallery.start().then(() => { isReady = true; editor.store.set({}); });
  return editor;
}

function tool(editor, name, text, key) {
  const element = button(name, text, () => editor.store.set({ tool: name, preview: null }), { key, class: "icon-only" });
  const render = (state) => element.setAttribute("aria-pressed", String(state.tool === name));
  editor.store.subscribe(render);
  render(editor.state);
  return element;
}

/** Take image files that are dropped or pasted. */
function onFiles(element, take) {
  const first = (transfer) => [...transfer.files].find((file) => file.type.startsWith("image/"));
  element.addEventListener("dragover", (event) => { event.preventDefault(); element.classList.add("dropping"); });
  element.addEventListener("dragleave", () => element.classList.remove("dropping"));
  element.addEventListener("drop", (event) => {
    event.preventDefault();
    element.classList.remove("dropping");
    if (first(event.dataTransfer)) take(first(event.dataTransfer));
  });
  document.addEventListener("paste", (event) => {
    const file = first(event.clipboardData);
    if (!file) return;
    event.preventDefault();
    take(file);
  });
}

/** Choices of a person, kept in the browser where it lets us. */
class Settings {
  #values = new Map();

  get(key) {
    try {
      return localStorage.getItem(`segzs-${key}`) ?? this.#values.get(key) ?? null;
    } catch {
      return this.#values.get(key) ?? null;
    }
  }

  set(key, value) {
    this.#values.set(key, value);
    try {
      localStorage.setItem(`segzs-${key}`, value);
    } catch {
      // a frame without storage
    }
  }
}
