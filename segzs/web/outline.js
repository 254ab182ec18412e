/** Outlines of masks: rings along the edges of pixels, and the same with fewer corners. */

/**
 * The closed rings around a shape and its holes, each as [x, y, x, y, ...] of its corners.
 *
 * The mask lies on the right of a ring's direction. Work grows with the length of the outline, not with the area.
 */
export function rings(shape) {
  const { offsets, ys, box: [left] } = shape, stride = shape.height + 1;
  const next = new Map(), second = new Map(); // from a corner to the next; two rings may touch in a corner
  const link = (x1, y1, x2, y2) => {
    const from = x1 * stride + y1;
    (next.has(from) ? second : next).set(from, x2 * stride + y2);
  };
  for (let column = 0; column < offsets.length; column++) {
    const x = left + column, end = offsets[column + 1] ?? offsets[column];
    for (let i = offsets[column]; i < end; i += 2) {
      link(x, ys[i], x + 1, ys[i]);
      link(x + 1, ys[i + 1], x, ys[i + 1]);
    }
    let i = offsets[column - 1] ?? 0, j = offsets[column], y = 0, before = false, here = false;
    while (i < offsets[column] || j < end) {
      const to = Math.min(i < offsets[column] ? ys[i] : Infinity, j < end ? ys[j] : Infinity);
      if (before && !here) link(x, y, x, to);
      if (here && !before) link(x, to, x, y);
      if (i < offsets[column] && ys[i] === to) { before = !before; i++; }
      if (j < end && ys[j] === to) { here = !here; j++; }
      y = to;
    }
  }
  const all = [];
  for (const start of [...next.keys()]) {
    while (next.has(start)) all.push(ring(start, next, second, stride));
  }
  return all;
}

function ring(start, next, second, stride) {
  const points = [];
  let at = start, dx = 0, dy = 0;
  do {
    const to = next.get(at), x = Math.floor(at / stride), y = at % stride;
    if (second.has(at)) { next.set(at, second.get(at)); second.delete(at); } else next.delete(at);
    const towardsX = Math.sign(Math.floor(to / stride) - x), towardsY = Math.sign((to % stride) - y);
    if (towardsX !== dx || towardsY !== dy) points.push(x, y);
    dx = towardsX;
    dy = towardsY;
    at = to;
  } while (at !== start);
  return points;
}

/** A ring with the corners that matter: the others lie within a tolerance of it (Douglas and Peucker 1973). */
export function simplify(ring, tolerance) {
  const count = ring.length / 2;
  if (count < 5) return ring;
  const kept = new Uint8Array(count + 1), spans = [[0, farthest(ring, count)], [farthest(ring, count), count]];
  for (const [from] of spans) kept[from] = 1;
  while (spans.length) {
    const [from, to] = spans.pop();
    const ax = ring[2 * from], ay = ring[2 * from + 1], last = to % count;
    const dx = ring[2 * last] - ax, dy = ring[2 * last + 1] - ay, length = Math.hypot(dx, dy);
    let most = tolerance, worst = -1;
    for (let i = from + 1; i < to; i++) {
      const px = ring[2 * i] - ax, py = ring[2 * i + 1] - ay;
      const distance = length ? Math.abs(px * dy - py * dx) / length : Math.hypot(px, py);
      if (distance > most) { most = distance; worst = i; }
    }
    if (worst > 0) {
      kept[worst] = 1;
      spans.push([from, worst], [worst, to]);
    }
  }
  const points = [];
  for (let i = 0; i < count; i++) if (kept[i]) points.push(ring[2 * i], ring[2 * i + 1]);
  return points.length >= 6 ? points : ring;
}

function farthest(ring, count) {
  let best = 1, most = -1;
  for (let i = 1; i < count; i++) {
    const distance = Math.hypot(ring[2 * i] - ring[0], ring[2 * i + 1] - ring[1]);
    if (distance > most) { most = distance; best = i; }
  }
  return best;
}
