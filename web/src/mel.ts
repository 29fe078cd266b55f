/** The picture of a sound as the model's front-end sees it: log-mel energies. For the eye alone, the model has its own. */

import type { FrontEnd } from "./model_info.ts";

const DEFAULTS: FrontEnd = {
  window_ms: 30,
  hop_ms: 10,
  n_fft: 512,
  n_mels: 40,
  f_min: 0,
  f_max: 8000,
  log_floor: 1e-6,
};
const MS_PER_SECOND = 1000;
// The mel scale of HTK.
const MEL_FACTOR = 2595;
const MEL_HERTZ = 700;

const toMel = (hertz: number) => MEL_FACTOR * Math.log10(1 + hertz / MEL_HERTZ);
const toHertz = (mel: number) => MEL_HERTZ * (10 ** (mel / MEL_FACTOR) - 1);

/** Columns of one stream, one a hop. */
export class MelColumns {
  readonly bands: number;
  readonly hop: number;
  private readonly facts: FrontEnd;
  private readonly hann: Float64Array;
  private readonly bank: { first: number; weights: number[] }[];
  private held: Float32Array;

  constructor(facts: Partial<FrontEnd>, sampleRate: number) {
    this.facts = { ...DEFAULTS, ...facts };
    const { n_fft, n_mels, f_min, f_max } = this.facts;
    this.bands = n_mels;
    this.hop = Math.round((this.facts.hop_ms * sampleRate) / MS_PER_SECOND);
    const length = Math.round((this.facts.window_ms * sampleRate) / MS_PER_SECOND);
    this.hann = Float64Array.from({ length }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / length));
    const lowest = toMel(f_min);
    const step = (toMel(f_max) - lowest) / (n_mels + 1);
    const edge = (band: number) => toHertz(lowest + band * step);
    this.bank = Array.from({ length: n_mels }, (_, band) => {
      const [low, middle, high] = [edge(band), edge(band + 1), edge(band + 2)];
      const first = Math.ceil((low * n_fft) / sampleRate);
      const weights = [];
      for (let bin = first; bin <= n_fft / 2 && (bin * sampleRate) / n_fft < high; bin++) {
        const hertz = (bin * sampleRate) / n_fft;
        weights.push(Math.max(Math.min((hertz - low) / (middle - low), (high - hertz) / (high - middle)), 0));
      }
      return { first, weights };
    });
    this.held = new Float32Array(length - this.hop);
  }

  /** Columns (n, bands) that the next samples complete. */
  hear(samples: Float32Array): Float32Array {
    const sound = new Float32Array(this.held.length + samples.length);
    sound.set(this.held);
    sound.set(samples, this.held.length);
    const columns: number[] = [];
    let start = 0;
    for (; start + this.hann.length <= sound.length; start += this.hop) {
      const power = this.powerOf(sound, start);
      for (const { first, weights } of this.bank) {
        let sum = 0;
        for (let i = 0; i < weights.length; i++) sum += weights[i] * power[first + i];
        columns.push(Math.log(sum + this.facts.log_floor));
      }
    }
    this.held = sound.slice(start);
    return Float32Array.from(columns);
  }

  private powerOf(sound: Float32Array, start: number): Float64Array {
    const real = new Float64Array(this.facts.n_fft);
    const imaginary = new Float64Array(this.facts.n_fft);
    for (let i = 0; i < this.hann.length; i++) real[i] = sound[start + i] * this.hann[i];
    transform(real, imaginary);
    return real.map((value, bin) => value ** 2 + imaginary[bin] ** 2);
  }
}

/** The discrete Fourier transform in place, of a length that is a power of two. */
export function transform(real: Float64Array, imaginary: Float64Array): void {
  const length = real.length;
  for (let i = 1, j = 0; i < length; i++) {
    let bit = length >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [real[i], real[j]] = [real[j], real[i]];
      [imaginary[i], imaginary[j]] = [imaginary[j], imaginary[i]];
    }
  }
  for (let size = 2; size <= length; size *= 2) {
    const half = size / 2;
    for (let k = 0; k < half; k++) {
      const angle = -(2 * Math.PI * k) / size;
      const [cosine, sine] = [Math.cos(angle), Math.sin(angle)];
      for (let i = k; i < length; i += size) {
        const j = i + half;
        const re = real[j] * cosine - imaginary[j] * sine;
        const im = real[j] * sine + imaginary[j] * cosine;
        [real[j], imaginary[j]] = [real[i] - re, imaginary[i] - im];
        [real[i], imaginary[i]] = [real[i] + re, imaginary[i] + im];
      }
    }
  }
}
