/** Work on segments as functions of values: prompts, drafts, duplicates, names. */

import { shapeOf } from "./rle.js";

const DUPLICATE = 0.7;
let ids = 0;

/** A segment as the page holds it: what the backend answers, and an id. */
export function withId(segment, prompt = null) {
  return { ...segment, id: ++ids, prompt, renamed: segment.renamed ?? false };
}

/** A draft: the prompts of one object, and its segment once the backend has answered. */
export function newDraft({ points = [], positive = [], box = null, segment = null, index = null } = {}) {
  return { id: ++ids, points, positive, box, segment, index, answered: segment !== null };
}

/** The draft with one more point. */
export function withPoint(draft, point, positive) {
  const points = [...draft.points, point], signs = [...draft.positive, positive];
  return { ...draft, id: ++ids, points, positive: signs, answered: false };
}

/** What the backend needs to know of a draft. */
export function promptOf({ points, positive, box }) {
  return { points, positive, ...(box && { box }) };
}

/** The segment of a draft, put where it belongs among the segments. */
export function accepted(segments, draft) {
  if (!draft?.segment) return segments;
  const { points, positive, box, segment, index } = draft;
  const done = withId(segment, { points, positive, box });
  return index === null ? [...segments, done] : [...segments.slice(0, index), done, ...segments.slice(index)];
}

/** Segments with new ones, except those that cover nearly the same pixels as one that is there. */
export function together(segments, found) {
  const isNew = (one) => !segments.some((other) => shapeOf(other.rle).iou(shapeOf(one.rle)) > DUPLICATE);
  return [...segments, ...found.filter(isNew).map((one) => withId(one))];
}

/** A segment with a name that a person gave. */
export function renamed(segment, name) {
  const names = [{ name: segment.name, probability: segment.probability }, ...segment.runners_up];
  return {
    ...segment,
    name,
    probability: 1,
    renamed: true,
    runners_up: names.filter((one) => one.name && one.name !== name),
  };
}

/** Segments with newly computed names, by id; names that a person gave stay. */
export function withNames(segments, names) {
  return segments.map((segment) => {
    const named = segment.renamed ? null : names.get(segment.id);
    return named ? { ...segment, name: named.name, probability: named.probability, runners_up: named.runners_up } : segment;
  });
}

/** The smallest segment at a pixel, or null. */
export function segmentAt(segments, x, y) {
  const hits = segments.filter((segment) => shapeOf(segment.rle).contains(x, y));
  return hits.reduce((best, one) => (best && best.area <= one.area ? best : one), null);
}

/** A segment without what only the page knows. */
export function plain({ id, prompt, ...segment }) {
  return segment;
}

/** "87%"; for a name that a person gave "yours". */
export function confidence(segment) {
  return segment.renamed ? "yours" : percent(segment.probability);
}

/** A share as text. */
export function percent(share) {
  return share > 0 && share < 0.01 ? "<1%" : `${Math.round(100 * share)}%`;
}
