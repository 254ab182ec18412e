/** The image with its masks: zoom, pan, pointer and keyboard. */

import { h } from "./elements.js";
import { Painter } from "./painter.js";
import { onPointer } from "./pointer.js";
import { fit, pan, toImage, toScreen, zoom } from "./view.js";
import { segmentAt } from "./work.js";

const STEP = 1.25, HOVER_MS = 30;

export class Stage {
  #gesture = { box: null, cursor: null };
  #corner = null; // the first corner of a box that is drawn by keyboard
  #shownSource = null;
  #wanted = false;
  #timer = 0;
  #isFitted = true;

  constructor(editor, { wheelNeedsControl = false } = {}) {
    this.editor = editor;
    this.view = { scale: 1, x: 0, y: 0 };
    this.frame = { width: 1, height: 1 };
    this.picture = h("img", { class: "picture", alt: "", draggable: false, onload: () => this.draw() });
    const canvas = h("canvas", { class: "masks", "aria-hidden": "true" });
    this.hint = h("p", { class: "unseen", id: "stage-hint" },
      "Arrow keys move the cursor. Space adds a point on the object, X a point off it, B the corners of a box, Enter accepts.");
    this.element = h("div", {
      class: "viewport", tabIndex: 0, role: "application", "aria-label": "Image", "aria-describedby": "stage-hint",
      onkeydown: (event) => this.#key(event), onblur: () => this.#move({ cursor: null }),
    }, this.picture, canvas, this.hint);
    this.painter = new Painter(canvas);
    onPointer(this.element, {
      wheelNeedsControl,
      mode: () => (editor.state.tool === "select" ? "pan" : "box"),
      press: (x, y, options) => this.#press(toImage(this.view, x, y), options),
      box: (from, to) => {
        this.#move({ box: null });
        editor.box(...toImage(this.view, ...from), ...toImage(this.view, ...to));
      },
      draw: (from, to) => this.#move({ box: from && [...toImage(this.view, ...from), ...toImage(this.view, ...to)] }),
      hover: (x, y) => this.#hover(x === null ? null : toImage(this.view, x, y)),
      pan: (dx, dy) => this.#look(pan(this.view, dx, dy, ...this.#size, this.frame)),
      zoom: (factor, x, y) => this.zoomBy(factor, x, y),
      space: (fresh) => this.#atCursor((cursor) => this.#press(cursor, { positive: true, fresh })),
    });
    new ResizeObserver(() => this.#resize()).observe(this.element);
    editor.store.subscribe((state) => this.#render(state));
  }

  /** Zoom in or out about a point, or the middle. */
  zoomBy(factor = STEP, x = this.frame.width / 2, y = this.frame.height / 2) {
    if (!this.editor.state.image) return;
    this.#isFitted = false;
    this.#look(zoom(this.view, factor, x, y, Math.min(1, fit(...this.#size, this.frame).scale)));
  }

  zoomOut() {
    this.zoomBy(1 / STEP);
  }

  /** Show the whole image. */
  fit() {
    if (!this.editor.state.image) return;
    this.#isFitted = true;
    this.#look(fit(...this.#size, this.frame));
  }

  /** Draw before the next frame. */
  draw() {
    if (this.#wanted) return;
    this.#wanted = true;
    requestAnimationFrame(() => {
      this.#wanted = false;
      const { scale, x, y } = this.view;
      this.picture.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
      this.picture.classList.toggle("pixels", scale >= 3);
      this.painter.draw(this.editor.state, this.view, this.#gesture);
    });
  }

  get #size() {
    const { width, height } = this.editor.state.image ?? { width: 1, height: 1 };
    return [width, height];
  }

  #look(view) {
    this.view = view;
    this.draw();
  }

  #move(gesture) {
    this.#gesture = { ...this.#gesture, ...gesture };
    this.draw();
  }

  #resize() {
    const { clientWidth: width, clientHeight: height } = this.element;
    this.frame = { width, height };
    this.painter.resize(width, height);
    if (this.#isFitted) this.fit();
    this.draw();
  }

  #render(state) {
    const { image, source } = state;
    if (source !== this.#shownSource && image) {
      this.#shownSource = source;
      this.picture.src = source;
      this.picture.style.width = `${image.width}px`;
      this.picture.style.height = `${image.height}px`;
      this.element.setAttribute("aria-label", `Image ${image.name}, ${image.width} by ${image.height} pixels`);
      this.#gesture = { box: null, cursor: null };
      this.#corner = null;
      this.fit();
    }
    this.element.dataset.tool = state.tool;
    this.draw();
  }

  #press([x, y], { positive, fresh }) {
    const { editor } = this;
    if (editor.state.tool === "select") editor.select(segmentAt(editor.state.segments, x, y)?.id ?? null);
    else editor.point(x, y, { positive, fresh });
  }

  #hover(point) {
    const { editor } = this, { segments, hovered } = editor.state;
    const under = point ? segmentAt(segments, ...point)?.id ?? null : null;
    if (under !== hovered) editor.store.set({ hovered: under });
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => editor.preview(point), HOVER_MS);
  }

  #key(event) {
    const arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!this.editor.state.image || event.ctrlKey || event.metaKey) return;
    const key = event.key.toLowerCase();
    if (arrow) this.#moveCursor(arrow, event.shiftKey ? 50 : event.altKey ? 1 : 10);
    else if (key === "x" && !event.repeat) this.#atCursor((cursor) => this.#press(cursor, { positive: false }));
    else if (key === "b" && !event.repeat) this.#atCursor((cursor) => this.#keyCorner(cursor));
    else if (key !== " ") return; // a point is added when the space bar is released: held down, it pans
    event.preventDefault();
    event.stopPropagation();
  }

  #atCursor(act) {
    if (this.#gesture.cursor) act(this.#gesture.cursor);
    else this.#moveCursor([0, 0], 0);
  }

  #moveCursor([dx, dy], step) {
    const [width, height] = this.#size, [x, y] = this.#gesture.cursor ?? [width / 2, height / 2];
    const by = step / this.view.scale;
    const cursor = [Math.max(0, Math.min(width - 1, x + dx * by)), Math.max(0, Math.min(height - 1, y + dy * by))];
    this.#move({ cursor, box: this.#corner && [...this.#corner, ...cursor] });
    const [left, top] = toScreen(this.view, ...cursor), { width: w, height: t } = this.frame;
    if (left < 0 || top < 0 || left > w || top > t) this.#look(pan(this.view, w / 2 - left, t / 2 - top, width, height, this.frame));
    this.#hover(cursor);
    const under = segmentAt(this.editor.state.segments, ...cursor);
    this.editor.say(`${Math.round(cursor[0])}, ${Math.round(cursor[1])}${under?.name ? `, on ${under.name}` : ""}`);
  }

  #keyCorner(cursor) {
    if (!this.#corner) {
      this.#corner = cursor;
      this.editor.say("First corner of the box. Move to the other corner and press B.");
      return;
    }
    const corner = this.#corner;
    this.#corner = null;
    this.#move({ box: null });
    this.editor.box(...corner, ...cursor);
  }
}

