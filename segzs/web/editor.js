/** What a person does to an image: prompts, accepting, names; every action changes the state of a `Store`. */

import { Store } from "./store.js";
import { accepted, confidence, newDraft, promptOf, renamed, withId, withNames, withPoint } from "./work.js";

const START = {
  images: [], image: null, source: null, loading: false, encoded: false,
  segments: [], draft: null,
  selected: null, hovered: null, renaming: null, preview: null, pending: false,
  task: null, error: null, status: "",
  tool: "segment", masksVisible: true, vocabulary: { labels: [], general: true }, formats: [],
};

export class Editor {
  constructor(backend) {
    this.backend = backend;
    this.store = new Store(START);
    this.preview = newest((point) => this.#preview(point));
    let before = START;
    this.store.subscribe((state) => {
      const { image, segments } = state;
      if (image && image === before.image && segments !== before.segments) {
        backend.keep(image.digest, segments.map(({ id, ...kept }) => kept));
      }
      before = state;
    });
  }

  get state() {
    return this.store.state;
  }

  /** Say something to screen readers, and show it below the image. */
  say(status) {
    this.store.set({ status });
  }

  /** Run something, and show why it failed where people look. */
  async attempt(call) {
    try {
      return await call();
    } catch (error) {
      if (error.name !== "AbortError") this.store.set({ error: error.message, status: "" });
      return null;
    }
  }

  /** Add a point to the object, or begin one. A fresh point begins another object. */
  point(x, y, { positive = true, fresh = false } = {}) {
    if (!this.#inside(x, y)) return;
    const { draft, segments } = this.state;
    const isNew = fresh || !draft;
    if (isNew && !positive) {
      this.say("First click on the object, then on what does not belong to it.");
      return;
    }
    const base = isNew ? newDraft() : draft;
    this.#prompt(withPoint(base, [x, y], positive), isNew ? accepted(segments, draft) : segments);
  }

  /** Begin an object with a box around it. */
  box(x1, y1, x2, y2) {
    const { image, segments, draft } = this.state;
    if (!image) return;
    const box = [Math.max(0, Math.min(x1, x2)), Math.max(0, Math.min(y1, y2)),
      Math.min(image.width, Math.max(x1, x2)), Math.min(image.height, Math.max(y1, y2))];
    if (box[2] - box[0] < 1 || box[3] - box[1] < 1) return;
    this.#prompt({ ...newDraft({ box }), answered: false }, accepted(segments, draft));
  }

  /** Keep the object that is being outlined. */
  accept() {
    const { draft, segments } = this.state;
    if (!draft?.segment) return;
    const all = accepted(segments, draft), added = all[draft.index ?? all.length - 1];
    this.store.commit({ segments: all, draft: null, selected: added.id, preview: null, renaming: null });
    this.say(`Accepted: ${describe(added)}. ${count(all.length)}.`);
  }

  /** Drop the object that is being outlined; a refined segment stays as it was. */
  discard() {
    const { draft, segments } = this.state;
    if (!draft) return;
    const back = draft.original ? [...segments.slice(0, draft.index), draft.original, ...segments.slice(draft.index)] : segments;
    this.store.commit({ draft: null, segments: back, pending: false, renaming: null });
    this.say("Discarded.");
  }

  /** Outline a segment again, beginning with its prompts or its box. */
  refine(id) {
    const index = this.state.segments.findIndex((segment) => segment.id === id);
    if (index < 0) return;
    this.accept();
    const segment = this.state.segments[index], { points = [], positive = [], box = segment.box } = segment.prompt ?? {};
    const draft = { ...newDraft({ points, positive, box, segment, index }), original: segment };
    this.store.commit({ segments: this.state.segments.filter((one) => one.id !== id), draft, selected: null });
    this.say(`Refine ${segment.name || "the segment"}: click to add to it, right click to take away, Enter to accept.`);
  }

  /** Delete segments. */
  remove(ids) {
    const left = this.state.segments.filter((segment) => !ids.includes(segment.id));
    const gone = this.state.segments.length - left.length;
    if (!gone) return;
    const at = this.state.segments.findIndex((segment) => ids.includes(segment.id));
    this.store.commit({ segments: left, selected: left[Math.min(at, left.length - 1)]?.id ?? null, renaming: null });
    this.say(`Deleted ${count(gone)}. ${count(left.length)} left.`);
  }

  /** Give a segment, or the draft, another name; it becomes an example, and the other names are computed again. */
  async rename(id, name) {
    const { segments, draft, image } = this.state, text = name.trim();
    const isDraft = draft?.id === id, old = isDraft ? draft.segment : segments.find((one) => one.id === id);
    this.store.set({ renaming: null });
    if (!old || !text || (text === old.name && old.renamed)) return;
    const changed = renamed(old, text);
    if (isDraft) this.store.commit({ draft: { ...draft, segment: changed } });
    else this.store.commit({ segments: segments.map((one) => (one.id === id ? changed : one)) });
    this.say(`Renamed to ${text}.`);
    if (text === "unknown") return; // no label, so that it has no examples
    await this.attempt(async () => {
      this.store.set({ vocabulary: await this.backend.addExample(image.digest, old.rle, text) });
      await this.nameAgain(`Renamed to ${text}.`);
    });
  }

  /** Use other labels; null means the general vocabulary. */
  async setLabels(labels) {
    await this.attempt(async () => {
      const vocabulary = await this.backend.setLabels(labels?.length ? labels : null);
      this.store.set({ vocabulary });
      const many = vocabulary.labels.length;
      await this.nameAgain(vocabulary.general ? "The general vocabulary is used." : `${many} label${many === 1 ? "" : "s"}.`);
    });
  }

  /** Compute names again after labels or examples changed. */
  async nameAgain(status) {
    const { image, segments, draft } = this.state;
    const open = [...segments, ...(draft?.segment ? [{ ...draft.segment, id: draft.id }] : [])].filter((one) => !one.renamed);
    if (!image || !open.length) return this.say(status);
    const names = await this.backend.name(image.digest, open.map((one) => one.rle));
    if (this.state.image !== image) return undefined;
    const byId = new Map(open.map((one, i) => [one.id, names[i]]));
    const changed = open.filter((one, i) => one.name !== names[i].name).length;
    const now = this.state;
    const [drafted] = now.draft?.segment ? withNames([{ ...now.draft.segment, id: now.draft.id }], byId) : [];
    this.store.set({
      segments: withNames(now.segments, byId),
      draft: drafted ? { ...now.draft, segment: drafted } : now.draft,
    });
    return this.say(changed ? `${status} ${changed} other name${changed === 1 ? "" : "s"} changed.` : status);
  }

  undo() {
    this.#step("undo", "Undone.");
  }

  redo() {
    this.#step("redo", "Done again.");
  }

  /** Select a segment, by its id, or none. */
  select(id) {
    if (id !== this.state.selected) this.store.set({ selected: id, renaming: null });
  }

  /** Ask again for an outline that did not come. */
  retry() {
    this.store.set({ error: null });
    if (this.state.draft && !this.state.draft.answered) this.#ask(this.state.draft);
  }

  #step(direction, status) {
    this.store[direction]();
    this.say(status);
    this.retry();
  }

  #inside(x, y) {
    const { image } = this.state;
    return Boolean(image) && x >= 0 && y >= 0 && x < image.width && y < image.height;
  }

  #prompt(draft, segments) {
    this.store.commit({ draft, segments, selected: null, preview: null, error: null, renaming: null });
    return this.#ask(draft);
  }

  async #ask(draft) {
    const { image, encoded } = this.state;
    this.store.set({ pending: true });
    this.say(encoded ? "" : "The image is being encoded, which happens once.");
    const isCurrent = () => this.state.draft?.id === draft.id && this.state.image === image;
    try {
      const [segment] = await this.backend.segment(image.digest, [promptOf(draft)]);
      if (!isCurrent()) return;
      if (!segment.area) throw new Error("No object is there. Click somewhere else, or draw a box.");
      const kept = draft.segment?.renamed ? { ...segment, name: draft.segment.name, probability: 1, renamed: true } : segment;
      this.store.set({ draft: { ...this.state.draft, segment: kept, answered: true }, pending: false, encoded: true });
      this.say(`${describe(kept)}. Enter accepts it.`);
    } catch (error) {
      if (isCurrent()) this.store.set({ pending: false, error: error.message });
    }
  }

  async #preview(point) {
    const { image, draft, encoded, tool, task } = this.state;
    if (!point || !image || !encoded || draft || task || tool !== "segment" || !this.#inside(...point)) {
      if (this.state.preview) this.store.set({ preview: null });
      return;
    }
    try {
      const [segment] = await this.backend.segment(image.digest, [{ points: [point], positive: [true] }], { names: false });
      const { draft: begun, image: now } = this.state;
      this.store.set({ preview: begun || now !== image || !segment.area ? null : { rle: segment.rle, point } });
    } catch {
      this.store.set({ preview: null }); // the next move of the pointer asks again
    }
  }
}

/** Run one call at a time; of the calls that come meanwhile only the newest runs. */
export function newest(call) {
  let running = false, waiting = null;
  return async function run(...parameters) {
    if (running) {
      waiting = parameters;
      return;
    }
    running = true;
    try {
      await call(...parameters);
    } finally {
      running = false;
      const next = waiting;
      waiting = null;
      if (next) run(...next);
    }
  };
}

/** A segment in words, for screen readers. */
export function describe(segment) {
  return segment.name ? `${segment.name}, ${segment.renamed ? "named by you" : confidence(segment)}` : "a segment without a name";
}

/** "1 segment", "3 segments". */
export function count(many) {
  return `${many} segment${many === 1 ? "" : "s"}`;
}

/** The segments that were kept of an image, with new ids. */
export function restored(kept) {
  return (kept ?? []).map((segment) => withId(segment, segment.prompt ?? null));
}
