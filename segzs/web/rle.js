/** Masks: COCO's compressed run lengths, read into the runs of each column inside the mask's box. */

import { rings, simplify } from "./outline.js";

/** The run lengths of COCO's compressed text; the first run is background. */
export function runLengths(text) {
  const lengths = [];
  for (let at = 0; at < text.length; ) {
    let value = 0, bits = 0, byte;
    do {
      byte = text.charCodeAt(at++) - 48;
      value |= (byte & 31) << bits;
      bits += 5;
    } while (byte & 32);
    if (byte & 16) value |= -1 << bits;
    if (lengths.length > 2) value += lengths.at(-2);
    lengths.push(value);
  }
  return lengths;
}

/**
 * A mask without its pixels: for each column of its box the rows where it begins and ends.
 *
 * `ys.slice(offsets[i], offsets[i + 1])` holds begin, end, begin, end, ... of column `x1 + i`.
 */
export class Shape {
  constructor({ size: [height, width], counts }) {
    const offsets = [0], ys = [];
    let x1 = width, y1 = height, y2 = 0, area = 0, column = -1, at = 0, inside = false;
    for (const length of runLengths(counts)) {
      if (inside && length) {
        area += length;
        for (let from = at; from < at + length; ) {
          const x = Math.floor(from / height), top = from - x * height;
          const bottom = Math.min(height, at + length - x * height);
          if (column < 0) column = x1 = x;
          for (; column < x; column++) offsets.push(ys.length);
          ys.push(top, bottom);
          y1 = Math.min(y1, top);
          y2 = Math.max(y2, bottom);
          from = x * height + bottom;
        }
      }
      at += length;
      inside = !inside;
    }
    if (area) offsets.push(ys.length);
    this.box = area ? [x1, y1, column + 1, y2] : [0, 0, 0, 0];
    this.area = area;
    this.height = height;
    this.offsets = Int32Array.from(offsets);
    this.ys = Int32Array.from(ys);
    this.paths = new Map();
  }

  /** Whether a pixel is in the mask. */
  contains(x, y) {
    const column = Math.floor(x) - this.box[0];
    if (column < 0 || column >= this.offsets.length - 1) return false;
    for (let i = this.offsets[column]; i < this.offsets[column + 1]; i += 2) {
      if (y >= this.ys[i] && y < this.ys[i + 1]) return true;
    }
    return false;
  }

  /** Pixels that two masks have in common. */
  intersection(other) {
    let common = 0;
    const first = Math.max(this.box[0], other.box[0]), last = Math.min(this.box[2], other.box[2]);
    for (let x = first; x < last; x++) {
      let i = this.offsets[x - this.box[0]], j = other.offsets[x - other.box[0]];
      const iEnd = this.offsets[x - this.box[0] + 1], jEnd = other.offsets[x - other.box[0] + 1];
      while (i < iEnd && j < jEnd) {
        common += Math.max(0, Math.min(this.ys[i + 1], other.ys[j + 1]) - Math.max(this.ys[i], other.ys[j]));
        if (this.ys[i + 1] < other.ys[j + 1]) i += 2;
        else j += 2;
      }
    }
    return common;
  }

  /** Intersection over union of two masks, from 0 to 1. */
  iou(other) {
    const common = this.intersection(other);
    return common ? common / (this.area + other.area - common) : 0;
  }

  /**
   * The outline as a Path2D in image pixels, fine enough for a scale (screen pixels for each image pixel).
   *
   * It is kept for each power of two; from a scale of 4 on it follows the pixels exactly. Fill it with "evenodd".
   */
  path(scale) {
    const level = Math.min(2, Math.ceil(Math.log2(scale)));
    if (!this.paths.has(level)) {
      this.rings ??= rings(this);
      const path = new Path2D();
      for (const ring of this.rings) {
        const points = level < 2 ? simplify(ring, 0.7 / 2 ** level) : ring;
        path.moveTo(points[0], points[1]);
        for (let i = 2; i < points.length; i += 2) path.lineTo(points[i], points[i + 1]);
        path.closePath();
      }
      this.paths.set(level, path);
    }
    return this.paths.get(level);
  }
}

const shapes = new WeakMap();

/** The shape of an RLE, read once. */
export function shapeOf(rle) {
  if (!shapes.has(rle)) shapes.set(rle, new Shape(rle));
  return shapes.get(rle);
}
