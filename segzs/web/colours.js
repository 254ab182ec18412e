/** A colour for each name, the same as in the overlays that Python draws. */

const GREY = [150, 150, 150];

/** From a name to [red, green, blue]: names get distant hues in their order, "unknown" and no name are grey. */
export function palette(names) {
  const colours = new Map([["unknown", GREY], ["", GREY]]);
  let index = 0;
  for (const name of names) if (!colours.has(name)) colours.set(name, hue(index++));
  return colours;
}

/** Golden-ratio steps around the colour wheel, in three alternating lightnesses. */
function hue(index) {
  const angle = (0.02 + index * 0.618034) % 1, lightness = [0.5, 0.62, 0.4][index % 3];
  const chroma = 0.85 * Math.min(lightness, 1 - lightness);
  return [0, 8, 4].map((shift) => {
    const k = (shift + angle * 12) % 12;
    return Math.round(255 * (lightness - chroma * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  });
}

/** As a CSS colour. */
export function css([red, green, blue], alpha = 1) {
  return `rgb(${red} ${green} ${blue} / ${alpha})`;
}

/** Black or white, whichever is legible on a colour. */
export function ink([red, green, blue]) {
  return 0.299 * red + 0.587 * green + 0.114 * blue > 140 ? "#000" : "#fff";
}
