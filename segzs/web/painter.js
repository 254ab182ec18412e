/** Draws masks, names and prompts over the image, in the size of the screen. */

import { css, ink, palette } from "./colours.js";
import { shapeOf } from "./rle.js";
import { toScreen } from "./view.js";
import { confidence } from "./work.js";

const ACCENT = [20, 184, 166], DRAFT = [15, 118, 110], POSITIVE = [22, 163, 74], NEGATIVE = [220, 38, 38];
const FONT = "600 12px system-ui, sans-serif", TAG = 20;

export class Painter {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.ratio = 1;
  }

  /** Adopt the size of the frame, in screen pixels. */
  resize(width, height) {
    this.ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(width * this.ratio);
    this.canvas.height = Math.round(height * this.ratio);
  }

  /** Draw a state. `gesture` is what the pointer or the keyboard is about to do: {box, cursor}. */
  draw(state, view, gesture) {
    const { context, canvas, ratio } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (!state.image) return;
    this.view = view;
    const colours = palette(state.segments.map((segment) => segment.name));
    const largestFirst = state.masksVisible ? state.segments.toSorted((a, b) => b.area - a.area) : [];
    context.lineJoin = "round";
    for (const segment of largestFirst) {
      const isChosen = segment.id === state.selected, isHovered = segment.id === state.hovered;
      this.#mask(segment.rle, colours.get(segment.name), isChosen ? 0.45 : isHovered ? 0.38 : 0.22, isChosen ? 3 : 1.75);
    }
    if (state.preview) this.#mask(state.preview.rle, ACCENT, 0.2, 1.5, [5, 4]);
    const { draft } = state;
    if (draft?.segment) this.#mask(draft.segment.rle, ACCENT, 0.35, 2.5);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.#tags(largestFirst, colours, state);
    if (draft?.box) this.#box(draft.box, [6, 4]);
    if (gesture.box) this.#box(gesture.box, []);
    if (draft?.segment?.name) this.#tag(draft.segment, DRAFT, () => true);
    draft?.points.forEach((point, i) => this.#point(point, draft.positive[i], state.pending && i === draft.points.length - 1));
    if (state.pending && draft?.box && !draft.points.length) this.#point(middle(draft.box), true, true);
    if (gesture.cursor) this.#cursor(gesture.cursor);
  }

  #mask(rle, colour, fill, width, dash = []) {
    const { context, view, ratio, canvas } = this, shape = shapeOf(rle);
    const [left, top] = toScreen(view, shape.box[0], shape.box[1]), [right, bottom] = toScreen(view, shape.box[2], shape.box[3]);
    if (right < 0 || bottom < 0 || left * ratio > canvas.width || top * ratio > canvas.height) return;
    const path = shape.path(view.scale * ratio), scale = view.scale * ratio;
    context.setTransform(scale, 0, 0, scale, view.x * ratio, view.y * ratio);
    context.fillStyle = css(colour, fill);
    context.fill(path, "evenodd");
    context.setLineDash([]);
    context.strokeStyle = dash.length ? css([0, 0, 0], 0.55) : css([255, 255, 255], 0.85);
    context.lineWidth = (width + 1.75) / view.scale;
    context.stroke(path);
    context.setLineDash(dash.map((length) => length / view.scale));
    context.strokeStyle = dash.length ? "#fff" : css(colour);
    context.lineWidth = width / view.scale;
    context.stroke(path);
    context.setLineDash([]);
  }

  /** Names above their masks, small masks first; those without room are left to the list. */
  #tags(segments, colours, state) {
    const { view } = this, taken = [];
    const important = (segment) => (segment.id === state.selected ? 2 : segment.id === state.hovered ? 1 : 0);
    const order = segments.toReversed().sort((a, b) => important(b) - important(a));
    for (const segment of order) {
      const [x1] = toScreen(view, segment.box[0], 0), [x2] = toScreen(view, segment.box[2], 0);
      if (!segment.name || (!important(segment) && x2 - x1 < 4 * segment.name.length)) continue;
      this.#tag(segment, colours.get(segment.name), (tag) => {
        if (!important(segment) && taken.some((other) => overlap(tag, other))) return false;
        taken.push(tag);
        return true;
      });
    }
  }

  /** The name of a segment above its mask, if `hasRoom` of the rectangle. */
  #tag(segment, colour, hasRoom) {
    const { context, view, ratio, canvas } = this, frame = { width: canvas.width / ratio, height: canvas.height / ratio };
    const [x1, y1] = toScreen(view, segment.box[0], segment.box[1]), [x2, y2] = toScreen(view, segment.box[2], segment.box[3]);
    if (x2 < 0 || y2 < 0 || x1 > frame.width || y1 > frame.height) return;
    context.font = FONT;
    context.textBaseline = "middle";
    const text = `${segment.name} ${segment.renamed ? "" : confidence(segment)}`.trim();
    const width = context.measureText(text).width + 12;
    const x = clamp((x1 + x2 - width) / 2, 2, frame.width - width - 2), y = clamp(y1 - TAG - 3, 2, frame.height - TAG - 2);
    if (!hasRoom([x, y, x + width, y + TAG])) return;
    context.fillStyle = css(colour);
    context.strokeStyle = "#fff";
    context.lineWidth = 1;
    context.beginPath();
    context.roundRect(x, y, width, TAG, 5);
    context.fill();
    context.stroke();
    context.fillStyle = ink(colour);
    context.fillText(text, x + 6, y + TAG / 2 + 0.5);
  }

  #box([x1, y1, x2, y2], dash) {
    const { context, view } = this, [left, top] = toScreen(view, x1, y1), [right, bottom] = toScreen(view, x2, y2);
    for (const [style, width] of [["#fff", 3.5], [css([15, 118, 110]), 1.75]]) {
      context.setLineDash(width > 2 ? [] : dash);
      context.strokeStyle = style;
      context.lineWidth = width;
      context.strokeRect(left, top, right - left, bottom - top);
    }
    context.setLineDash([]);
  }

  /** A plus or a minus in a disc; while its answer is awaited, in a ring. */
  #point([x, y], positive, isPending) {
    const { context, view } = this, [left, top] = toScreen(view, x, y);
    context.beginPath();
    context.arc(left, top, 7, 0, 2 * Math.PI);
    context.fillStyle = css(positive ? POSITIVE : NEGATIVE);
    context.strokeStyle = "#fff";
    context.lineWidth = 2;
    context.fill();
    context.stroke();
    context.beginPath();
    context.moveTo(left - 3.5, top);
    context.lineTo(left + 3.5, top);
    if (positive) {
      context.moveTo(left, top - 3.5);
      context.lineTo(left, top + 3.5);
    }
    context.stroke();
    if (!isPending) return;
    context.beginPath();
    context.arc(left, top, 13, 0, 1.5 * Math.PI);
    context.strokeStyle = css(ACCENT);
    context.lineWidth = 3;
    context.stroke();
  }

  #cursor([x, y]) {
    const { context, view } = this, [left, top] = toScreen(view, x, y);
    for (const [style, width] of [["#000", 4], ["#fff", 2]]) {
      context.strokeStyle = style;
      context.lineWidth = width;
      context.beginPath();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        context.moveTo(left + 4 * dx, top + 4 * dy);
        context.lineTo(left + 14 * dx, top + 14 * dy);
      }
      context.stroke();
    }
  }
}

function middle([x1, y1, x2, y2]) {
  return [(x1 + x2) / 2, (y1 + y2) / 2];
}

function clamp(value, least, most) {
  return Math.max(least, Math.min(most, value));
}

function overlap(a, b) {
  return a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
}
