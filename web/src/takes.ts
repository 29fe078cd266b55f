/** Takes of a word: judged, and trimmed to the word, as by `kws record` (`audio/takes.py`, configs/record.yaml). */

import { clippedSamples, levelOf } from "./recent.ts";
import { texts } from "./texts.ts";

const FRAME_SECONDS = 0.01;
const FLOOR_SHARE = 0.1;
/** A frame so far below the loudest one is not part of the word (dB). */
const TRIM_DB = 35;
/** The longest quiet stretch within a word. */
const PAUSE_SECONDS = 0.2;
const MARGIN_SECONDS = 0.1;
const QUIET_DB = -40;
const NOISE_DB = 15;
const CLIPPED_SAMPLES = 4;
const SHORTEST_SECONDS = 0.1;
const LONGEST_SECONDS = 1;

function levelsOf(samples: Float32Array, rate: number): number[] {
  const frame = Math.round(FRAME_SECONDS * rate);
  const length = Math.floor(samples.length / frame);
  return Array.from({ length }, (_, i) => levelOf(samples.subarray(i * frame, (i + 1) * frame)));
}

/** First and last frame of the word around the loudest frame. */
function wordFrames(levels: number[]): [number, number] {
  const loudest = levels.indexOf(Math.max(...levels));
  const isLoud = (frame: number) => levels[frame] > levels[loudest] - TRIM_DB;
  const reach = (step: number) => {
    let edge = loudest;
    const mayLie = PAUSE_SECONDS / FRAME_SECONDS + 1;
    for (let i = loudest; i >= 0 && i < levels.length && Math.abs(i - edge) <= mayLie; i += step)
      if (isLoud(i)) edge = i;
    return edge;
  };
  return [reach(-1), reach(1)];
}

/** The value below which a tenth of the levels lie. */
function floorOf(levels: number[]): number {
  const sorted = levels.toSorted((first, second) => first - second);
  const place = FLOOR_SHARE * (sorted.length - 1);
  const [below, above] = [sorted[Math.floor(place)], sorted[Math.ceil(place)]];
  return below + (above - below) * (place % 1);
}

/** What is wrong with a whole take and what to do; null for a good one. */
export function faultOf(samples: Float32Array, rate: number): string | null {
  const levels = levelsOf(samples, rate);
  const [first, last] = wordFrames(levels);
  const seconds = (last + 1 - first) * FRAME_SECONDS;
  const loudest = Math.max(...levels);
  if (clippedSamples(samples) >= CLIPPED_SAMPLES) return texts.takes.clipped;
  if (loudest < QUIET_DB) return texts.takes.quiet(loudest);
  if (loudest - floorOf(levels) < NOISE_DB) return texts.takes.noisy(loudest - floorOf(levels));
  if (seconds < SHORTEST_SECONDS) return texts.takes.short(seconds);
  if (seconds > LONGEST_SECONDS) return texts.takes.long(seconds, LONGEST_SECONDS);
  return null;
}

/** The word with its margins. */
export function trimmed(samples: Float32Array, rate: number): Float32Array {
  const [first, last] = wordFrames(levelsOf(samples, rate));
  const start = Math.max(first * FRAME_SECONDS - MARGIN_SECONDS, 0);
  const stop = (last + 1) * FRAME_SECONDS + MARGIN_SECONDS;
  return samples.slice(Math.round(start * rate), Math.round(stop * rate));
}

/** The loudest stretch of a sound that is longer. */
export function loudestPart(samples: Float32Array, length: number): Float32Array {
  let [energy, best, start] = [0, 0, 0];
  for (let i = 0; i < samples.length; i++) {
    energy += samples[i] ** 2;
    if (i < length) best = energy;
    else energy -= samples[i - length] ** 2;
    if (i >= length && energy > best) [best, start] = [energy, i - length + 1];
  }
  return samples.slice(start, start + length);
}
