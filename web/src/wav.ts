/** WAV files of 16-bit mono: written, and read sample by sample, which a browser's decoder scales a little. */

const HEADER_BYTES = 44;
const FORMAT_BYTES = 16;
const PCM = 1;
const SAMPLE_BYTES = 2;
const BITS = 16;
const SCALE = 2 ** (BITS - 1);
// Where fields of a header stand whose chunks come in the usual order.
const SIZE_AT = 4;
const WAVE_AT = 8;
const FORMAT_AT = 12;
const FORMAT_SIZE_AT = 16;
const TAG_AT = 20;
const CHANNELS_AT = 22;
const RATE_AT = 24;
const BYTE_RATE_AT = 28;
const FRAME_BYTES_AT = 32;
const BITS_AT = 34;
const DATA_AT = 36;
const DATA_SIZE_AT = 40;

/** Samples within ±1 as a file. */
export function writeWav(samples: Float32Array, rate: number): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + SAMPLE_BYTES * samples.length);
  const view = new DataView(bytes.buffer);
  const text = (start: number, word: string) => bytes.set(new TextEncoder().encode(word), start);
  text(0, "RIFF");
  view.setUint32(SIZE_AT, bytes.length - WAVE_AT, true);
  text(WAVE_AT, "WAVE");
  text(FORMAT_AT, "fmt ");
  view.setUint32(FORMAT_SIZE_AT, FORMAT_BYTES, true);
  view.setUint16(TAG_AT, PCM, true);
  view.setUint16(CHANNELS_AT, 1, true);
  view.setUint32(RATE_AT, rate, true);
  view.setUint32(BYTE_RATE_AT, SAMPLE_BYTES * rate, true);
  view.setUint16(FRAME_BYTES_AT, SAMPLE_BYTES, true);
  view.setUint16(BITS_AT, BITS, true);
  text(DATA_AT, "data");
  view.setUint32(DATA_SIZE_AT, bytes.length - HEADER_BYTES, true);
  samples.forEach((sample, i) => {
    const value = Math.min(Math.max(Math.round(sample * SCALE), -SCALE), SCALE - 1);
    view.setInt16(HEADER_BYTES + SAMPLE_BYTES * i, value, true);
  });
  return bytes;
}

/** The samples of such a file at this rate; null for any other file. */
export function readWav(bytes: Uint8Array, rate: number): Float32Array<ArrayBuffer> | null {
  if (bytes.length < HEADER_BYTES) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const isText = (start: number, word: string) =>
    new TextDecoder("latin1").decode(bytes.subarray(start, start + word.length)) === word;
  const isPlain =
    isText(0, "RIFF") &&
    isText(WAVE_AT, "WAVEfmt ") &&
    isText(DATA_AT, "data") &&
    view.getUint16(TAG_AT, true) === PCM &&
    view.getUint16(CHANNELS_AT, true) === 1 &&
    view.getUint32(RATE_AT, true) === rate &&
    view.getUint16(BITS_AT, true) === BITS;
  if (!isPlain) return null;
  const there = Math.min(view.getUint32(DATA_SIZE_AT, true), bytes.length - HEADER_BYTES);
  const length = Math.floor(there / SAMPLE_BYTES);
  return Float32Array.from({ length }, (_, i) => view.getInt16(HEADER_BYTES + SAMPLE_BYTES * i, true) / SCALE);
}
