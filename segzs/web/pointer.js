/** Mouse, pen, touch and wheel as what they mean: press, box, hover, pan, zoom; in pixels of the element. */

const DRAG = 5, WHEEL = 0.0016;

/**
 * Call the methods of `on` for the pointers of an element.
 *
 * A press of the space bar is `on.space(fresh)`. A left press is positive, a right one or one with Alt is negative, one with Shift is fresh. A drag draws a box, or pans
 * if `on.mode()` is "pan"; the middle button and the space bar always pan, two fingers pan and zoom.
 */
export function onPointer(element, on) {
  const pointers = new Map();
  let start = null, dragged = false, spaceIsDown = false;
  const at = (event) => {
    const { left, top } = element.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  };

  element.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "mouse" && event.button > 2) return;
    element.focus({ preventScroll: true, focusVisible: false });
    element.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, at(event));
    if (pointers.size > 1) {
      start = null;
      on.draw(null);
      return;
    }
    const pans = event.button === 1 || spaceIsDown || on.mode() === "pan";
    start = { from: at(event), last: at(event), button: event.button, pans };
    dragged = spaceIsDown;
    on.hover(null);
    event.preventDefault();
  });

  element.addEventListener("pointermove", (event) => {
    const position = at(event);
    if (pointers.size > 1 && pointers.has(event.pointerId)) return pinch(event.pointerId, position);
    if (!start) {
      if (event.pointerType === "mouse") on.hover(...position);
      return undefined;
    }
    dragged ||= distance(start.from, position) > DRAG; // a hand is never quite still
    if (!dragged) return undefined;
    if (start.pans) on.pan(position[0] - start.last[0], position[1] - start.last[1]);
    else if (start.button === 0) on.draw(start.from, position);
    start.last = position;
    return undefined;
  });

  element.addEventListener("pointerup", (event) => {
    pointers.delete(event.pointerId);
    if (!start) return;
    const { from, button, pans } = start, to = at(event);
    start = null;
    if (dragged && !pans && button === 0) on.box(from, to);
    else if (!dragged && button !== 1 && !spaceIsDown) {
      on.press(...from, { positive: button === 0 && !event.altKey && !event.ctrlKey, fresh: event.shiftKey });
    }
  });

  element.addEventListener("pointercancel", (event) => {
    pointers.delete(event.pointerId);
    start = null;
    on.draw(null);
  });
  element.addEventListener("pointerleave", () => on.hover(null));
  element.addEventListener("contextmenu", (event) => event.preventDefault());
  element.addEventListener("keydown", (event) => {
    if (event.key !== " " || event.repeat) return;
    spaceIsDown = true;
    dragged = false;
  });
  element.addEventListener("keyup", (event) => {
    if (event.key !== " " || !spaceIsDown) return;
    spaceIsDown = false;
    if (!dragged) on.space(event.shiftKey);
  });
  element.addEventListener("blur", () => { spaceIsDown = false; });

  element.addEventListener("wheel", (event) => {
    if (on.wheelNeedsControl && !event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : 1, pinched = event.ctrlKey ? 4 : 1;
    on.zoom(Math.exp(-event.deltaY * lines * pinched * WHEEL), ...at(event));
  }, { passive: false });

  function pinch(id, position) {
    const [a, b] = [...pointers.values()], before = distance(a, b), middleBefore = middle(a, b);
    pointers.set(id, position);
    const [c, d] = [...pointers.values()], middleAfter = middle(c, d);
    on.pan(middleAfter[0] - middleBefore[0], middleAfter[1] - middleBefore[1]);
    if (before > 0) on.zoom(distance(c, d) / before, ...middleAfter);
  }
}

function distance([x1, y1], [x2, y2]) {
  return Math.hypot(x2 - x1, y2 - y1);
}

function middle([x1, y1], [x2, y2]) {
  return [(x1 + x2) / 2, (y1 + y2) / 2];
}
