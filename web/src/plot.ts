/** The three pictures over one time axis: scores with the threshold line, log-mel, waveform. */

import { cividis, styleOf } from "./colours.ts";
import type { Recent } from "./recent.ts";
import { texts } from "./texts.ts";

const LEFT = 34;
const PAD = 6;
const FONT = "12px system-ui, sans-serif";
/** Height of a line of text. */
const LINE = 18;
const PALE = 0.35;
const OPAQUE = 255;
const PIXEL_BYTES = 4;
const THRESHOLD_DASH = [4, 4];
const GRID_SCORES = [0, 1 / 4, 0.5, 3 / 4, 1];
/** The log-mel energy of the brightest colour; that of the darkest is the floor. */
const LOUDEST = 7;
const WAVE_STEP = 4;
/** Pixels around the threshold line in which it can be taken. */
const GRIP = 14;

export interface Line {
  value: number;
  colour: string;
}

export interface Shown {
  recent: Recent;
  /** Seconds from and to. */
  from: number;
  to: number;
  /** The column of the word whose threshold is chosen, or null for all. */
  chosen: number | null;
  lines: Line[];
  note: string;
  /** A time that is marked (seconds), or null. */
  cursor: number | null;
  marks: { time: number; keyword: number }[];
}

type Context = CanvasRenderingContext2D;

export class Plot {
  private last: Shown | null = null;
  private picture = new ImageData(1, 1);
  private readonly small = new OffscreenCanvas(1, 1);

  constructor(
    private readonly scores: HTMLCanvasElement,
    private readonly mel: HTMLCanvasElement,
    private readonly wave: HTMLCanvasElement,
    onThreshold: (value: number) => void,
  ) {
    this.makeDraggable(onThreshold);
    new ResizeObserver(() => this.last && this.draw(this.last)).observe(scores);
  }

  draw(shown: Shown): void {
    this.last = shown;
    this.drawScores(shown);
    this.drawMel(shown);
    this.drawWave(shown);
  }

  private makeDraggable(onThreshold: (value: number) => void): void {
    const { scores } = this;
    const valueAt = (clientY: number) => {
      const { top, height } = scores.getBoundingClientRect();
      return 1 - (clientY - top - PAD) / (height - 2 * PAD);
    };
    const isNear = (clientY: number) =>
      this.last?.lines.some((line) => Math.abs(line.value - valueAt(clientY)) * scores.clientHeight < GRIP) ?? false;
    scores.onpointerdown = (event) => isNear(event.clientY) && scores.setPointerCapture(event.pointerId);
    scores.onpointermove = (event) => {
      scores.classList.toggle("grip", isNear(event.clientY));
      if (scores.hasPointerCapture(event.pointerId)) onThreshold(valueAt(event.clientY));
    };
    // A finger on the line moves it; elsewhere it scrolls the page.
    const hold = (event: TouchEvent) => isNear(event.touches[0].clientY) && event.preventDefault();
    scores.addEventListener("touchstart", hold, { passive: false });
  }

  private drawScores(shown: Shown): void {
    const { context, width, height } = cleared(this.scores);
    const { recent, from, to } = shown;
    const style = getComputedStyle(this.scores);
    const [ink, grid] = [style.getPropertyValue("--ink"), style.getPropertyValue("--grid")];
    const toX = (time: number) => LEFT + ((time - from) / (to - from)) * (width - LEFT);
    const toY = (score: number) => PAD + (1 - score) * (height - 2 * PAD);
    context.strokeStyle = grid;
    context.fillStyle = ink;
    context.textBaseline = "middle";
    for (const score of GRID_SCORES) {
      line(context, LEFT, toY(score), width, toY(score));
      if (score % 0.5 === 0) context.fillText(score.toFixed(1), PAD, Math.min(Math.max(toY(score), PAD), height - PAD));
    }
    for (let second = Math.ceil(Math.max(from, 0)); second <= to; second++)
      line(context, toX(second), PAD, toX(second), height - PAD);
    context.setLineDash([]);
    for (const mark of shown.marks) {
      context.strokeStyle = styleOf(mark.keyword).colour;
      line(context, toX(mark.time), PAD, toX(mark.time), height - PAD);
    }
    context.save();
    context.beginPath();
    context.rect(LEFT, 0, width - LEFT, height);
    context.clip();
    const [first, last] = recent.framesIn(from, to);
    for (const [column, keyword] of recent.columns.entries()) {
      const { colour, dash } = keyword < 0 ? { colour: grid, dash: [] } : styleOf(keyword);
      context.strokeStyle = colour;
      context.lineWidth = shown.chosen === null || shown.chosen === column ? 2 : 1;
      context.globalAlpha = shown.chosen === null || shown.chosen === column ? 1 : PALE;
      context.setLineDash(dash);
      context.beginPath();
      for (let i = first; i < last; i++) context.lineTo(toX(recent.timeOf(i)), toY(recent.rows.at(i)[column]));
      context.stroke();
    }
    context.restore();
    context.lineWidth = 1.5;
    context.setLineDash(THRESHOLD_DASH);
    for (const { value, colour } of shown.lines) {
      context.strokeStyle = colour || ink;
      line(context, LEFT, toY(value), width, toY(value));
    }
    context.setLineDash([]);
    context.lineWidth = 1;
    if (shown.lines.length === 1 && shown.note) {
      const value = shown.lines[0].value;
      label(context, shown.note, LEFT + PAD, toY(value) + (value > 0.5 ? LINE : -LINE), style);
    }
    cursor(context, shown, toX, height, ink);
  }

  private drawMel(shown: Shown): void {
    const { context, width, height } = cleared(this.mel);
    const { recent, from, to } = shown;
    const style = getComputedStyle(this.mel);
    const toX = (time: number) => LEFT + ((time - from) / (to - from)) * (width - LEFT);
    const first = Math.floor(from / recent.columnSeconds);
    const picture = this.pictureOf(Math.ceil((to - from) / recent.columnSeconds) + 1, recent.mel.width);
    picture.data.fill(0);
    for (let i = Math.max(first, recent.mel.first); i < Math.min(first + picture.width, recent.mel.end); i++) {
      const column = recent.mel.at(i);
      for (let band = 0; band < picture.height; band++) {
        const [red, green, blue] = cividis((column[band] - recent.melFloor) / (LOUDEST - recent.melFloor));
        const place = ((picture.height - 1 - band) * picture.width + i - first) * PIXEL_BYTES;
        picture.data[place] = red;
        picture.data[place + 1] = green;
        picture.data[place + 2] = blue;
        picture.data[place + 3] = OPAQUE;
      }
    }
    this.small.getContext("2d")!.putImageData(picture, 0, 0);
    const [left, right] = [toX(first * recent.columnSeconds), toX((first + picture.width) * recent.columnSeconds)];
    context.save();
    context.beginPath();
    context.rect(LEFT, 0, width - LEFT, height);
    context.clip();
    context.drawImage(this.small, left, 0, right - left, height);
    context.restore();
    label(context, texts.melTitle, LEFT + PAD, LINE, style);
    cursor(context, shown, toX, height, style.getPropertyValue("--ink"));
  }

  /** One picture for all times, so that none is left over ten times a second. */
  private pictureOf(width: number, height: number): ImageData {
    if (this.picture.width !== width || this.picture.height !== height) {
      this.picture = new ImageData(width, height);
      Object.assign(this.small, { width, height });
    }
    return this.picture;
  }

  private drawWave(shown: Shown): void {
    const { context, width, height } = cleared(this.wave);
    const { recent, from, to } = shown;
    const style = getComputedStyle(this.wave);
    const ink = style.getPropertyValue("--ink");
    const toX = (time: number) => LEFT + ((time - from) / (to - from)) * (width - LEFT);
    context.strokeStyle = style.getPropertyValue("--grid");
    line(context, LEFT, height / 2, width, height / 2);
    context.strokeStyle = style.getPropertyValue("--accent");
    context.beginPath();
    const perPixel = ((to - from) * recent.rate) / (width - LEFT);
    for (let pixel = 0; pixel < width - LEFT; pixel++) {
      // Whole steps, so that the same samples are looked at wherever the picture has moved to.
      const start = Math.floor((from * recent.rate) / WAVE_STEP + (pixel * perPixel) / WAVE_STEP) * WAVE_STEP;
      let [low, high] = [Infinity, -Infinity];
      for (
        let i = Math.max(start, recent.sound.first);
        i < Math.min(start + perPixel, recent.sound.end);
        i += WAVE_STEP
      ) {
        const value = recent.sound.value(i);
        low = Math.min(low, value);
        high = Math.max(high, value);
      }
      if (low > high) continue;
      const toY = (value: number) => height / 2 - (Math.max(Math.min(value, 1), -1) * height) / 2;
      context.moveTo(LEFT + pixel, toY(high));
      context.lineTo(LEFT + pixel, toY(low) + 1);
    }
    context.stroke();
    label(context, texts.waveTitle, LEFT + PAD, LINE, style);
    cursor(context, shown, toX, height, ink);
  }
}

function cleared(canvas: HTMLCanvasElement): { context: Context; width: number; height: number } {
  const { clientWidth: width, clientHeight: height } = canvas;
  const scale = window.devicePixelRatio || 1;
  const [wide, high] = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== wide || canvas.height !== high) Object.assign(canvas, { width: wide, height: high });
  const context = canvas.getContext("2d")!;
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = FONT;
  return { context, width, height };
}

function line(context: Context, fromX: number, fromY: number, toX: number, toY: number): void {
  context.beginPath();
  context.moveTo(fromX, fromY);
  context.lineTo(toX, toY);
  context.stroke();
}

function label(context: Context, text: string, left: number, middle: number, style: CSSStyleDeclaration): void {
  context.textBaseline = "middle";
  context.fillStyle = style.getPropertyValue("--panel");
  context.globalAlpha = 0.8;
  context.fillRect(left - PAD / 2, middle - LINE / 2, context.measureText(text).width + PAD, LINE);
  context.globalAlpha = 1;
  context.fillStyle = style.getPropertyValue("--ink");
  context.fillText(text, left, middle + 1);
}

function cursor(context: Context, shown: Shown, toX: (time: number) => number, height: number, ink: string): void {
  if (shown.cursor === null) return;
  context.strokeStyle = ink;
  line(context, toX(shown.cursor), 0, toX(shown.cursor), height);
}
