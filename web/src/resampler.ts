/** Converts the rate of a stream by a band-limited polyphase filter: a sinc under a Kaiser window, no aliases. */

// Zero crossings of the sinc on each side, and where its band ends, as a share of the lower Nyquist frequency: with
// this window 0.93 to 1.07 of it is the transition, and what lies beyond is at least 90 dB down.
const CROSSINGS = 40;
const BAND = 0.93;
const KAISER_BETA = 9;
const BESSEL_TERMS = 30;

function greatestCommonDivisor(first: number, second: number): number {
  return second === 0 ? first : greatestCommonDivisor(second, first % second);
}

/** The modified Bessel function I0, of which the Kaiser window is made. */
function bessel(value: number): number {
  let sum = 1;
  let term = 1;
  for (let i = 1; i < BESSEL_TERMS; i++) {
    term *= (value / (2 * i)) ** 2;
    sum += term;
  }
  return sum;
}

export class Resampler {
  private readonly up: number;
  private readonly down: number;
  private readonly half: number;
  /** A row of 2 half + 1 weights for each of the `up` positions between two samples. */
  private readonly filters: Float32Array[] = [];
  private held: Float32Array;
  /** Of the next output, in units of 1 / up input samples, from the first held sample. */
  private position: number;

  constructor(fromRate: number, toRate: number) {
    const divisor = greatestCommonDivisor(fromRate, toRate);
    this.up = toRate / divisor;
    this.down = fromRate / divisor;
    // Cycles per input sample, of the low-pass.
    const cutoff = (BAND * Math.min(1, toRate / fromRate)) / 2;
    this.half = Math.ceil(CROSSINGS / (2 * cutoff));
    for (let phase = 0; phase < this.up; phase++) this.filters.push(this.filter(phase / this.up, cutoff));
    this.held = new Float32Array(this.half);
    this.position = this.half * this.up;
  }

  private filter(fraction: number, cutoff: number): Float32Array {
    const weights = new Float32Array(2 * this.half + 1);
    for (let i = 0; i < weights.length; i++) {
      const distance = i - this.half - fraction;
      const inside = 1 - (distance / (this.half + 1)) ** 2;
      const angle = 2 * Math.PI * cutoff * distance;
      const sinc = distance === 0 ? 1 : Math.sin(angle) / angle;
      weights[i] = 2 * cutoff * sinc * (bessel(KAISER_BETA * Math.sqrt(inside)) / bessel(KAISER_BETA));
    }
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return weights.map((weight) => weight / sum);
  }

  /** The next samples at the new rate. Later ones, half a filter long, wait for the sound that follows. */
  convert(samples: Float32Array): Float32Array {
    if (this.up === this.down) return samples;
    const sound = new Float32Array(this.held.length + samples.length);
    sound.set(this.held);
    sound.set(samples, this.held.length);
    const output: number[] = [];
    while (Math.floor(this.position / this.up) + this.half < sound.length) {
      const middle = Math.floor(this.position / this.up);
      const weights = this.filters[this.position % this.up];
      let sum = 0;
      for (let i = 0; i < weights.length; i++) sum += weights[i] * sound[middle - this.half + i];
      output.push(sum);
      this.position += this.down;
    }
    const spent = Math.max(Math.floor(this.position / this.up) - this.half, 0);
    this.held = sound.slice(spent);
    this.position -= spent * this.up;
    return Float32Array.from(output);
  }
}
