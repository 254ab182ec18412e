/** What takes a while and can be cancelled: every object, and objects by words. */

import { count } from "./editor.js";
import { percent, together } from "./work.js";

export class Searches {
  #abort = null;

  constructor(editor) {
    this.editor = editor;
  }

  /** Outline and name every object. */
  everything() {
    return this.#run("Every object", (digest, options) => this.editor.backend.everything(digest, options));
  }

  /** Outline the objects that a text describes. */
  find(text) {
    const words = text.trim();
    if (!words) return undefined;
    return this.#run(`“${words}”`, (digest, options) => this.editor.backend.find(digest, words, options));
  }

  /** Stop the search. */
  cancel() {
    if (!this.#abort) return;
    this.#abort.abort();
    this.#abort = null;
    this.editor.store.set({ task: null, status: "Cancelled." });
  }

  async #run(what, call) {
    const { editor } = this, { image } = editor.state;
    if (!image) return;
    this.cancel();
    editor.accept();
    const abort = (this.#abort = new AbortController());
    editor.store.set({ task: { what, done: 0 }, error: null, preview: null, status: `${what}: started. Escape cancels.` });
    const progress = (done) => {
      if (this.#abort === abort) editor.store.set({ task: { what, done } });
    };
    try {
      const found = await call(image.digest, { progress, signal: abort.signal });
      if (this.#abort !== abort || editor.state.image !== image) return;
      const { segments } = editor.state, all = together(segments, found), added = all.length - segments.length;
      if (added) editor.store.commit({ segments: all });
      const old = found.length - added ? `; ${found.length - added} ${found.length - added === 1 ? "was" : "were"} there already` : "";
      editor.say(found.length ? `${what}: ${count(added)} added${old}.` : `${what}: nothing was found.`);
    } catch (error) {
      if (error.name !== "AbortError" && this.#abort === abort) editor.store.set({ error: error.message, status: "" });
    } finally {
      if (this.#abort === abort) {
        this.#abort = null;
        editor.store.set({ task: null });
      }
    }
  }
}

/** The progress of a task in words. */
export function progressText({ what, done }) {
  return `${what}: ${percent(done)}`;
}
