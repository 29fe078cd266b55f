/** Colours that colour-blind people can tell apart: Okabe and Ito (2008) for words, cividis for pictures. */

const OKABE_ITO = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"];
// With more words than colours the lines are dashed too.
const DASHES = [[], [6, 3], [2, 3], [8, 3, 2, 3]];

export interface Style {
  colour: string;
  dash: number[];
}

export function styleOf(keyword: number): Style {
  const round = Math.floor(keyword / OKABE_ITO.length);
  return { colour: OKABE_ITO[keyword % OKABE_ITO.length], dash: DASHES[round % DASHES.length] };
}

/** A short line as the word's curve is drawn, for beside the word. */
export function markOf(keyword: number): HTMLSpanElement {
  const { colour, dash } = styleOf(keyword);
  const mark = document.createElement("span");
  mark.className = dash.length > 0 ? "mark dashed" : "mark";
  mark.style.borderColor = colour;
  return mark;
}

// Cividis (Nuñez, Anderton and Renslow 2018) at equal steps.
const CIVIDIS = [
  [0, 32, 76],
  [0, 52, 110],
  [57, 72, 107],
  [87, 92, 109],
  [112, 113, 115],
  [138, 134, 120],
  [166, 156, 117],
  [196, 180, 108],
  [227, 205, 93],
  [255, 233, 69],
];

/** Red, green and blue of a value from 0 to 1. */
export function cividis(value: number): [number, number, number] {
  const place = Math.min(Math.max(value, 0), 1) * (CIVIDIS.length - 1);
  const step = Math.min(Math.floor(place), CIVIDIS.length - 2);
  const mixed = (k: number) => CIVIDIS[step][k] + (CIVIDIS[step + 1][k] - CIVIDIS[step][k]) * (place - step);
  return [mixed(0), mixed(1), mixed(2)];
}
