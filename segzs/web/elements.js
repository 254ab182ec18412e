/** Make DOM elements. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element with properties, attributes and children.
 *
 * A property that the element has is set as such ("onclick", "disabled"), another one becomes an attribute
 * ("aria-label", "class"); null and undefined leave it out.
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (value === null || value === undefined) continue;
    if (key in element && key !== "list") element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const ICONS = {
  accept: "M4 10.5l4 4 8-9",
  close: "M5 5l10 10M15 5L5 15",
  rename: "M4 16l1-4 8.5-8.5 3 3L8 15zM11.5 5.5l3 3",
  refine: "M4 12c0-5 3-8 6-8s6 2 6 5-2 3-2 5-2 3-4 3M5 15v4M3 17h4",
  remove: "M4 6h12M8 6V4h4v2M6 6l1 10h6l1-10",
  undo: "M8 5L4 9l4 4M4 9h8a4 4 0 010 8h-2",
  redo: "M12 5l4 4-4 4M16 9H8a4 4 0 000 8h2",
  previous: "M12 4l-6 6 6 6",
  next: "M8 4l6 6-6 6",
  everything: "M3.5 3.5h5v5h-5zM11.5 3.5h5v5h-5zM3.5 11.5h5v5h-5zM11.5 11.5h5v5h-5z",
  find: "M9 4a5 5 0 100 10A5 5 0 009 4zM12.7 12.7L17 17",
  download: "M10 3v10M6 9l4 4 4-4M4 17h12",
  help: "M7.5 7.5a2.5 2.5 0 113.5 2.3c-.7.3-1 .8-1 1.7M10 14.5v.5",
  segment: "M10 3v4M10 13v4M3 10h4M13 10h4M10 9.5a.5.5 0 110 1 .5.5 0 010-1",
  select: "M5 3l10 7-5 1 3 5-2 1-3-5-3 3z",
  plus: "M10 4v12M4 10h12",
  minus: "M4 10h12",
  fit: "M4 8V4h4M12 4h4v4M16 12v4h-4M8 16H4v-4",
  shown: "M2.5 10S5.5 5 10 5s7.5 5 7.5 5-3 5-7.5 5-7.5-5-7.5-5zM10 8a2 2 0 100 4 2 2 0 000-4",
  hidden: "M2.5 10S5.5 5 10 5s7.5 5 7.5 5-3 5-7.5 5-7.5-5-7.5-5zM4 16L16 4",
  image: "M3.5 4.5h13v11h-13zM4 14l4-4 3 3 2-2 3 3M7 7.5v.1",
  person: "M10 4a3 3 0 100 6 3 3 0 000-6zM4.5 17a5.5 5.5 0 0111 0",
};

/** A drawn icon, hidden from screen readers. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const path = document.createElementNS(SVG, "path");
  svg.setAttribute("viewBox", "0 0 20 20");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** A button with an icon; its text is visible if there is room and always read aloud. `key` is its shortcut. */
export function button(name, text, onclick, { key = "", ...properties } = {}) {
  const title = key ? `${text} (${key})` : text;
  return h("button", { type: "button", title, onclick, ...properties }, icon(name), h("span", { class: "text" }, text));
}

/** Set the text of an element only if it differs, so that screen readers are not disturbed. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Let the children of a parent be those of `items`, reusing the element of each key: focus and scrolling stay. */
export function keyed(parent, items, keyOf, make, update) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let position = parent.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    const child = old.get(key) ?? make(item);
    child.dataset.key = key;
    old.delete(key);
    update(child, item);
    if (child === position) position = position.nextElementSibling;
    else parent.insertBefore(child, position);
  }
  for (const child of old.values()) child.remove();
}
