/** What the page shows, as one value, with undo and redo of the work on the image. */

const WORK = ["segments", "draft"];

/** Holds the state; a change replaces it and calls the subscribers once, before the next frame is drawn. */
export class Store {
  #subscribers = [];
  #past = [];
  #future = [];
  #scheduled = false;

  constructor(state) {
    this.state = state;
  }

  /** Call a function with the state after each change. */
  subscribe(subscriber) {
    this.#subscribers.push(subscriber);
  }

  /** Change the state without a step of undo. */
  set(changes) {
    this.state = { ...this.state, ...changes };
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      for (const subscriber of this.#subscribers) subscriber(this.state);
    });
  }

  /** Change segments or draft as one step of undo. */
  commit(changes) {
    this.#past.push(this.#work());
    this.#future = [];
    this.set(changes);
  }

  undo() {
    this.#move(this.#past, this.#future);
  }

  redo() {
    this.#move(this.#future, this.#past);
  }

  /** Begin with other work, without a past. */
  restart(changes) {
    this.#past = [];
    this.#future = [];
    this.set(changes);
  }

  get canUndo() {
    return this.#past.length > 0;
  }

  get canRedo() {
    return this.#future.length > 0;
  }

  #work() {
    return Object.fromEntries(WORK.map((key) => [key, this.state[key]]));
  }

  #move(from, to) {
    if (!from.length) return;
    to.push(this.#work());
    this.set({ ...from.pop(), renaming: null, preview: null });
  }
}
