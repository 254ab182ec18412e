/** Opening images: those of the server one after the other, and files that a person brings. */

import { count, restored } from "./editor.js";

export class Gallery {
  #opening = 0;

  constructor(editor) {
    this.editor = editor;
  }

  /** List the images and open the first one. */
  async start() {
    const { backend, store } = this.editor;
    await this.editor.attempt(async () => {
      const [images, vocabulary, formats] = await Promise.all([backend.images(), backend.labels(), backend.formats()]);
      store.set({ images, vocabulary, formats });
      if (images.length) await this.open(images[0].name);
    });
  }

  /** Open an image by its name. */
  open(name) {
    return this.#show(() => this.editor.backend.open(name), name);
  }

  /** Open an image file. */
  put(file) {
    return this.#show(async () => {
      const opened = await this.editor.backend.put(file);
      this.editor.store.set({ images: await this.editor.backend.images() });
      return opened;
    }, file.name);
  }

  /** Open the next image (1) or the one before (-1). */
  step(by) {
    const { images } = this.editor.state, next = images[this.index + by];
    if (next) this.open(next.name);
  }

  /** The number of the image among the images. */
  get index() {
    const { images, image } = this.editor.state;
    return images.findIndex((one) => one.name === image?.name);
  }

  async #show(open, name) {
    const { editor } = this, { backend, store } = editor, turn = ++this.#opening;
    editor.accept();
    editor.searches?.cancel();
    store.set({ loading: true, error: null, status: `Opening ${name}.` });
    await editor.attempt(async () => {
      const image = await open();
      const [source, kept] = await Promise.all([backend.source(image.digest), backend.load(image.digest)]);
      if (turn !== this.#opening) return;
      store.restart({
        image, source, encoded: image.encoded, loading: false, segments: restored(kept), draft: null,
        selected: null, hovered: null, renaming: null, preview: null, pending: false, task: null,
      });
      editor.say(`${image.name}, ${image.width} by ${image.height} pixels. ${count(editor.state.segments.length)}.`);
      await backend.encode(image.digest);
      if (turn !== this.#opening) return;
      store.set({ encoded: true, images: editor.state.images.map((one) => (one.name === image.name ? { ...one, digest: image.digest } : one)) });
      await this.#ahead(turn);
    });
    if (turn === this.#opening && editor.state.loading) store.set({ loading: false });
  }

  /** Encode the next image while this one is worked on. */
  async #ahead(turn) {
    const { images } = this.editor.state, { backend } = this.editor, next = images[this.index + 1];
    if (!next || this.index < 0) return;
    try {
      const { digest } = await backend.open(next.name);
      if (turn === this.#opening) await backend.encode(digest);
    } catch {
      // it fails again, and is shown, when the image is opened
    }
  }
}
