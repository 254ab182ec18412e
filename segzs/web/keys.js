/** Shortcuts: what they do, and the text of the help. */

import { toggleMasks } from "./list.js";

/** For the help: keys, and what they do. */
export const KEYS = [
  [["Click"], "add a point on the object"],
  [["Right click", "Alt+Click"], "add a point off the object"],
  [["Shift+Click"], "accept, and begin another object"],
  [["Drag"], "draw a box, which begins another object"],
  [["Arrows"], "move the cursor over the image; with Shift farther, with Alt one step"],
  [["Space"], "add a point at the cursor; held down, drag to move the image"],
  [["X"], "add a point off the object at the cursor"],
  [["B"], "first and second corner of a box at the cursor"],
  [["Enter"], "accept the outline"],
  [["Escape"], "cancel, or discard the outline"],
  [["R", "F2"], "rename"],
  [["E"], "refine the selected segment"],
  [["Delete"], "delete the selected segment"],
  [["Ctrl+Z"], "undo"],
  [["Ctrl+Shift+Z", "Ctrl+Y"], "redo"],
  [["A"], "outline everything"],
  [["F", "/"], "find by words"],
  [["L"], "edit the labels"],
  [["V", "S"], "select and move; segment"],
  [["M"], "hide or show the masks"],
  [["+", "−", "0"], "zoom in, zoom out, whole image; the wheel zooms too"],
  [["[", "]"], "previous, next image"],
  [["O"], "choose an image"],
  [["G"], "go to the list of segments"],
  [["Ctrl+S"], "export"],
];

/** Handle the shortcuts of a page; `isActive` says whether single keys are on. */
export function onKeys(target, { editor, stage, list, gallery, searches, bar, dialogs, labels, isActive }) {
  const { store } = editor;
  const current = () => (editor.state.draft?.segment ? editor.state.draft.id : editor.state.selected);
  const single = {
    r: () => store.set({ renaming: current() }),
    F2: () => store.set({ renaming: current() }),
    e: () => editor.refine(editor.state.selected),
    a: () => searches.everything(),
    f: () => bar.words.focus(),
    "/": () => bar.words.focus(),
    l: () => labels.input.focus(),
    v: () => store.set({ tool: "select", preview: null }),
    s: () => store.set({ tool: "segment" }),
    m: () => toggleMasks(editor),
    "+": () => stage.zoomBy(),
    "=": () => stage.zoomBy(),
    "-": () => stage.zoomOut(),
    0: () => stage.fit(),
    "[": () => gallery.step(-1),
    "]": () => gallery.step(1),
    o: () => dialogs.images(),
    g: () => list.focus(),
    "?": () => dialogs.help(),
  };
  const always = {
    Enter: () => editor.state.draft && editor.accept(),
    Escape: () => (editor.state.task ? searches.cancel() : editor.discard()),
    Delete: () => (editor.state.draft ? editor.discard() : editor.remove([editor.state.selected])),
    Backspace: () => editor.remove([editor.state.selected]),
  };
  const control = {
    z: (event) => (event.shiftKey ? editor.redo() : editor.undo()),
    y: () => editor.redo(),
    s: () => dialogs.export(),
  };
  target.addEventListener("keydown", (event) => {
    const origin = event.composedPath()[0];
    if (origin.closest?.("dialog")) return;
    const isTyping = origin.matches?.("input, textarea, select");
    if (isTyping && event.key === "Escape") origin.blur();
    const isButton = origin.matches?.("button") && event.key === "Enter";
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    let action = null;
    if (event.ctrlKey || event.metaKey) action = isTyping ? null : control[key];
    else if (!event.altKey && !isTyping && !isButton) action = always[key] ?? (isActive() ? single[key] : single[key.length > 1 ? key : ""]);
    if (!action) return;
    event.preventDefault();
    event.stopPropagation();
    action(event);
  });
}
