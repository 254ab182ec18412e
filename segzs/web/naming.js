/** The field that gives a segment another name: it offers the runners-up and the vocabulary. */

import { h } from "./elements.js";
import { percent } from "./work.js";

const MOST = 30;

/** The names to offer for what was typed, as [{name, note}]: runners-up first, then labels that begin with or contain it. */
export function suggestions(segment, labels, typed) {
  const text = typed.trim().toLowerCase();
  const ranked = segment.runners_up.filter(({ name }) => name !== "unknown").map(({ name, probability }) => ({ name, note: percent(probability) }));
  const taken = new Set([segment.name, ...ranked.map(({ name }) => name)]);
  const rest = labels.filter((label) => !taken.has(label)).map((name) => ({ name, note: "" }));
  if (!text) return [...ranked, ...rest].slice(0, MOST);
  const matching = [...ranked, ...rest].filter(({ name }) => name.toLowerCase().includes(text));
  const rank = ({ name }) => (name.toLowerCase().startsWith(text) ? 0 : 1);
  return matching.sort((a, b) => rank(a) - rank(b)).slice(0, MOST);
}

/**
 * A combobox for a new name. Enter takes what is chosen or typed, Escape leaves the name.
 *
 * @param onDone called with the name, or with null.
 */
export function nameField(segment, labels, onDone) {
  let options = [], active = -1, isDone = false;
  const list = h("ul", { class: "options", role: "listbox", id: "name-options", "aria-label": "Names" });
  const input = h("input", {
    type: "text", role: "combobox", class: "name-input", autocomplete: "off", spellcheck: false, value: segment.name,
    "aria-label": "New name", "aria-autocomplete": "list", "aria-expanded": "true", "aria-controls": "name-options",
    oninput: () => show(input.value), onkeydown: key, onblur: () => finish(null),
  });
  const element = h("div", { class: "name-field" }, input, list);
  show("");

  function show(typed) {
    options = suggestions(segment, labels, typed);
    list.replaceChildren(...options.map(({ name, note }, index) => h("li", {
      role: "option", id: `name-option-${index}`, "aria-selected": "false",
      onpointerdown: (event) => { event.preventDefault(); finish(name); },
    }, h("span", {}, name), note && h("span", { class: "note" }, note))));
    list.hidden = !options.length;
    input.setAttribute("aria-expanded", String(options.length > 0));
    choose(-1);
  }

  function choose(index) {
    list.children[active]?.setAttribute("aria-selected", "false");
    active = index;
    const option = list.children[active];
    option?.setAttribute("aria-selected", "true");
    option?.scrollIntoView({ block: "nearest" });
    if (option) input.setAttribute("aria-activedescendant", option.id);
    else input.removeAttribute("aria-activedescendant");
  }

  function key(event) {
    event.stopPropagation();
    if (event.key === "ArrowDown") choose(Math.min(active + 1, options.length - 1));
    else if (event.key === "ArrowUp") choose(Math.max(active - 1, -1));
    else if (event.key === "Enter") finish(options[active]?.name ?? input.value);
    else if (event.key === "Escape") finish(null);
    else return;
    event.preventDefault();
  }

  function finish(name) {
    if (isDone) return;
    isDone = true;
    onDone(name);
  }

  requestAnimationFrame(() => { input.focus(); input.select(); });
  return element;
}
