/** The page in a notebook's cell, as an anywidget. */

import { mount } from "./app.js";
import { ofImage } from "./http.js";

/** The backend over the messages of a widget: {id, op, args} there, {id, result | progress | error} back. */
export class WidgetBackend {
  #waiting = new Map();
  #asked = 0;
  #name = Math.random().toString(36).slice(2); // views of one widget share its messages
  #sources = new Map();

  constructor(model) {
    this.model = model;
    this.receive = (message, buffers) => this.#receive(message, buffers);
    model.on("msg:custom", this.receive);
  }

  /** Stop listening, and free the images. */
  close() {
    this.model.off("msg:custom", this.receive);
    for (const source of this.#sources.values()) URL.revokeObjectURL(source);
  }

  async images() {
    return (await this.#ask("images")).images;
  }

  open(name) {
    return this.#ask("open", { name });
  }

  async source(digest) {
    if (!this.#sources.has(digest)) {
      const { blob } = await this.#ask("file", { digest });
      this.#sources.set(digest, URL.createObjectURL(blob));
    }
    return this.#sources.get(digest);
  }

  encode(digest) {
    return this.#ask("encode", { digest });
  }

  async segment(digest, prompts, { names = true } = {}) {
    return ofImage(digest, await this.#ask("segment", { digest, prompts, names })).segments;
  }

  async everything(digest, options) {
    return ofImage(digest, await this.#ask("everything", { digest }, options)).segments;
  }

  async find(digest, text, options) {
    return ofImage(digest, await this.#ask("find", { digest, text }, options)).segments;
  }

  async name(digest, masks) {
    return ofImage(digest, await this.#ask("name", { digest, masks })).segments;
  }

  async formats() {
    return (await this.#ask("formats")).formats;
  }

  export(digest, format, segments) {
    return this.#ask("export", { digest, format, segments });
  }

  labels() {
    return this.#ask("labels");
  }

  setLabels(labels) {
    return this.#ask("set_labels", { labels });
  }

  addExample(digest, rle, name) {
    return this.#ask("add_example", { digest, rle, name });
  }

  /** The segments that Python holds of the image, which is the one that is shown from now on. */
  async load(digest) {
    return (await this.#ask("load", { digest })).segments;
  }

  keep(digest, segments) {
    return this.#ask("keep", { digest, segments });
  }

  #ask(op, args = {}, { progress, signal } = {}) {
    const id = `${this.#name}-${++this.#asked}`;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject, progress });
      signal?.addEventListener("abort", () => {
        this.#waiting.delete(id);
        this.model.send({ id, op: "cancel", args: {} });
        reject(new DOMException("cancelled", "AbortError"));
      });
      this.model.send({ id, op, args });
    });
  }

  #receive({ id, result, progress, error }, buffers) {
    const waiting = this.#waiting.get(id);
    if (!waiting) return;
    if (progress !== undefined) {
      waiting.progress?.(progress);
      return;
    }
    this.#waiting.delete(id);
    if (error !== undefined) waiting.reject(new Error(error));
    else if (buffers?.length) waiting.resolve({ ...result, blob: new Blob([buffers[0]], { type: result.media_type }) });
    else waiting.resolve(result);
  }
}

/** The widget that anywidget draws, with the page's style in a shadow root of its own. */
export function widget(style) {
  return {
    render({ model, el }) {
      const host = document.createElement("div"), backend = new WidgetBackend(model), sheet = new CSSStyleSheet();
      host.dataset.lmSuppressShortcuts = "true"; // JupyterLab leaves the keys to the page
      const root = host.attachShadow({ mode: "open" });
      sheet.replaceSync(style);
      root.adoptedStyleSheets = [sheet];
      el.append(host);
      const stop = followTheme(host);
      mount(root, backend, { keys: host, isEmbedded: true });
      return () => { stop(); backend.close(); };
    },
  };
}

/** Be light or dark as JupyterLab, VS Code, Colab or marimo is, which may differ from the system. */
function followTheme(host) {
  const { body, documentElement: html } = document;
  const follow = () => {
    const themes = [body.dataset.jpThemeLight === "false" && "dark", body.dataset.jpThemeLight === "true" && "light",
      ...["dark", "light"].filter((theme) => body.classList.contains(`vscode-${theme}`)
        || html.getAttribute("theme") === theme || html.classList.contains(theme) || body.classList.contains(theme))];
    host.style.colorScheme = themes.find(Boolean) ?? "";
  };
  const observer = new MutationObserver(follow);
  for (const element of [body, html]) observer.observe(element, { attributes: true });
  follow();
  return () => observer.disconnect();
}
