/** The view of an image: where its upper left corner is on the screen, and screen pixels for each image pixel. */

const LARGEST = 32;

/** The view that shows a whole image of width x height in a frame, with a margin, and room for the dock below. */
export function fit(width, height, frame, margin = 16, dock = 72) {
  const room = { width: Math.max(1, frame.width - 2 * margin), height: Math.max(1, frame.height - 2 * margin - dock) };
  const scale = Math.min(room.width / width, room.height / height, 8);
  return { scale, x: (frame.width - width * scale) / 2, y: margin + (room.height - height * scale) / 2 };
}

/** Zoom by a factor about a point of the screen; not smaller than a third of the fitting view. */
export function zoom(view, factor, x, y, smallest) {
  const scale = Math.min(LARGEST, Math.max(smallest / 3, view.scale * factor));
  const change = scale / view.scale;
  return { scale, x: x - (x - view.x) * change, y: y - (y - view.y) * change };
}

/** Move by screen pixels; some of the image stays in the frame. */
export function pan(view, dx, dy, width, height, frame) {
  const keep = 40;
  return {
    scale: view.scale,
    x: Math.min(frame.width - keep, Math.max(keep - width * view.scale, view.x + dx)),
    y: Math.min(frame.height - keep, Math.max(keep - height * view.scale, view.y + dy)),
  };
}

/** The image pixel under a point of the screen. */
export function toImage(view, x, y) {
  return [(x - view.x) / view.scale, (y - view.y) / view.scale];
}

/** The point of the screen of an image pixel. */
export function toScreen(view, x, y) {
  return [x * view.scale + view.x, y * view.scale + view.y];
}
