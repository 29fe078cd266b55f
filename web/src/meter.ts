/** The level meter, and what is wrong with the level. */

import { clippedSamples, levelOf } from "./recent.ts";
import { texts } from "./texts.ts";

const LOWEST_DB = -60;
const QUIET_DB = -50;
const CLIPPED_SAMPLES = 4;
/** Pieces of 100 ms that the hint looks back on. */
const LOOKED_AT = 30;

export class Meter {
  private pieces: { level: number; clipped: number; isZero: boolean }[] = [];

  constructor(
    private readonly meter: HTMLElement,
    private readonly hint: HTMLElement,
  ) {}

  hear(samples: Float32Array): void {
    if (samples.length === 0) return;
    const level = levelOf(samples);
    const isZero = samples.every((sample) => sample === 0);
    this.pieces = [...this.pieces, { level, clipped: clippedSamples(samples), isZero }].slice(-LOOKED_AT);
    this.show(level, this.reason());
  }

  reset(): void {
    this.pieces = [];
    this.show(LOWEST_DB, "");
  }

  private reason(): string {
    const { pieces } = this;
    if (pieces.reduce((sum, piece) => sum + piece.clipped, 0) >= CLIPPED_SAMPLES) return texts.hints.clipped;
    if (pieces.length < LOOKED_AT) return "";
    if (pieces.every((piece) => piece.isZero)) return texts.hints.zeros;
    return pieces.every((piece) => piece.level < QUIET_DB) ? texts.hints.quiet : "";
  }

  private show(level: number, reason: string): void {
    const shown = Math.min(Math.max(level, LOWEST_DB), 0);
    this.meter.setAttribute("aria-valuenow", shown.toFixed(0));
    (this.meter.firstElementChild as HTMLElement).style.width = `${(100 * (shown - LOWEST_DB)) / -LOWEST_DB}%`;
    this.meter.classList.toggle("clipped", reason === texts.hints.clipped);
    if (this.hint.textContent !== reason) this.hint.textContent = reason;
  }
}
