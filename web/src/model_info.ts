/** What an exported model says about itself: the metadata_props of its ONNX file, which onnxruntime-web does not read. */

export interface FrontEnd {
  window_ms: number;
  hop_ms: number;
  n_fft: number;
  n_mels: number;
  f_min: number;
  f_max: number;
  log_floor: number;
}

/** Of a model that takes a stream in pieces. */
export interface Streaming {
  hop_samples: number;
  state_shape: [number, number];
}

export interface DetectorSettings {
  thresholds: Record<string, number>;
  hysteresis: number;
  minimum_ms: number;
  settle_ms: number;
  refractory_ms: number;
  warm_up_ms: number;
}

/** What one threshold for all keywords costs. */
export interface CurvePoint {
  threshold: number;
  miss_rate: number;
  per_hour: number | null;
  limit_95: number | null;
}

export interface ModelInfo {
  labels: string[];
  keywords: string[];
  sampleRate: number;
  clipSamples: number;
  /** From one row of scores to the next. */
  frameSamples: number;
  streaming: Streaming | null;
  detector: DetectorSettings;
  frontend: Partial<FrontEnd>;
  training: Record<string, unknown>;
  detection: Record<string, number>;
  curve: CurvePoint[];
}

/** A file that cannot be used; the message says what was expected. */
export class ModelError extends Error {}

const VARINT = 0;
const EIGHT_BYTES = 1;
const LENGTH_AND_BYTES = 2;
const FOUR_BYTES = 5;
const WIDTHS: Record<number, number> = { [EIGHT_BYTES]: 8, [FOUR_BYTES]: 4 };
const TYPE_BITS = 3;
const TYPE_MASK = 7;
const GROUP_BITS = 7;
const GROUP_MASK = 0x7f;
const LONGEST_VARINT = 10;
// Fields of the messages ModelProto and StringStringEntryProto of ONNX.
const GRAPH = 7;
const METADATA = 14;
const KEY = 1;
const VALUE = 2;

const NOT_WORDS = ["_silence_", "_unknown_"];
const HOPS_PER_CLIP = 4;
const DEFAULT_THRESHOLD = 0.5;
const HYSTERESIS = 0.15;
const REFRACTORY_MS = 700;
const MS_PER_SECOND = 1000;

interface Field {
  number: number;
  /** Of a field with a length; empty for a number. */
  bytes: Uint8Array;
}

function readVarint(bytes: Uint8Array, start: number): [number, number] {
  let value = 0;
  for (let i = 0; i < LONGEST_VARINT && start + i < bytes.length; i++) {
    const byte = bytes[start + i];
    value += (byte & GROUP_MASK) * 2 ** (GROUP_BITS * i);
    if (byte <= GROUP_MASK) return [value, start + i + 1];
  }
  throw new ModelError("its protobuf ends within a number");
}

/** The fields of a protobuf message, one after the other. */
export function* fieldsOf(bytes: Uint8Array): Generator<Field> {
  let position = 0;
  while (position < bytes.length) {
    const [tag, afterTag] = readVarint(bytes, position);
    const number = Math.floor(tag / 2 ** TYPE_BITS);
    const type = tag & TYPE_MASK;
    let end = afterTag;
    let content = afterTag;
    if (type === VARINT) {
      [, end] = readVarint(bytes, afterTag);
      content = end;
    } else if (type === LENGTH_AND_BYTES) {
      const [length, afterLength] = readVarint(bytes, afterTag);
      content = afterLength;
      end = afterLength + length;
    } else if (type in WIDTHS) {
      end = content = afterTag + WIDTHS[type];
    } else {
      throw new ModelError(`its protobuf holds a field of unknown type ${type}`);
    }
    if (number === 0 || end > bytes.length) throw new ModelError("its protobuf ends within a field");
    yield { number, bytes: bytes.subarray(content, end) };
    position = end;
  }
}

/** The texts in `metadata_props` of an ONNX file. */
export function readMetadata(file: Uint8Array): Record<string, string> {
  const metadata: Record<string, string> = {};
  let hasGraph = false;
  for (const field of fieldsOf(file)) {
    hasGraph ||= field.number === GRAPH;
    if (field.number !== METADATA) continue;
    const entry: Record<number, string> = {};
    for (const part of fieldsOf(field.bytes)) entry[part.number] = new TextDecoder().decode(part.bytes);
    metadata[entry[KEY] ?? ""] = entry[VALUE] ?? "";
  }
  if (!hasGraph) throw new ModelError("it holds no graph");
  return metadata;
}

function isWhole(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) > 0;
}

/** Read a model file's facts; `name` is that of the file, for messages. */
export function readModelInfo(file: Uint8Array, name: string): ModelInfo {
  let metadata: Record<string, string>;
  try {
    metadata = readMetadata(file);
  } catch (error) {
    if (!(error instanceof ModelError)) throw error;
    throw new ModelError(`${name} is damaged or no ONNX file (${error.message}): export it again.`);
  }
  const missing = ["labels", "sample_rate", "clip_samples"].filter((key) => !(key in metadata));
  if (missing.length > 0) {
    throw new ModelError(
      `${name} is an ONNX file, but no keyword spotter exported by kws export (no ${missing.join(", ")} in its metadata).`,
    );
  }
  let facts: Record<string, unknown>;
  try {
    facts = Object.fromEntries(Object.entries(metadata).map(([key, text]) => [key, JSON.parse(text) as unknown]));
  } catch {
    throw new ModelError(`${name} has malformed metadata: export it again.`);
  }
  const labels = facts.labels;
  const streaming = (facts.streaming as Streaming | undefined) ?? null;
  const isGood =
    Array.isArray(labels) &&
    labels.every((label) => typeof label === "string") &&
    isWhole(facts.sample_rate) &&
    isWhole(facts.clip_samples) &&
    (streaming === null || (isWhole(streaming.hop_samples) && streaming.state_shape?.every(isWhole)));
  if (!isGood) throw new ModelError(`${name} has malformed metadata: export it again.`);

  const keywords = labels.filter((label) => !NOT_WORDS.includes(label));
  const sampleRate = facts.sample_rate as number;
  const clipSamples = facts.clip_samples as number;
  const detection = (facts.detection ?? {}) as Record<string, number>;
  const hopSeconds = detection.hop_seconds ?? clipSamples / sampleRate / HOPS_PER_CLIP;
  const frameSamples = streaming ? streaming.hop_samples : Math.round(hopSeconds * sampleRate);
  const points = facts.operating_points as { curve?: CurvePoint[] } | undefined;
  return {
    labels: labels,
    keywords,
    sampleRate,
    clipSamples,
    frameSamples,
    streaming,
    detector:
      (facts.detector as DetectorSettings | undefined) ?? clipDetector(keywords, detection, frameSamples / sampleRate),
    frontend: facts.frontend ?? {},
    training: (facts.training ?? {}) as Record<string, unknown>,
    detection,
    curve: points?.curve ?? [],
  };
}

/** For a model of clips, whose file has one threshold: the same detector, which a single window may convince. */
function clipDetector(keywords: string[], detection: Record<string, number>, hopSeconds: number): DetectorSettings {
  const threshold = detection.threshold ?? DEFAULT_THRESHOLD;
  return {
    thresholds: Object.fromEntries(keywords.map((keyword) => [keyword, threshold])),
    hysteresis: Math.min(HYSTERESIS, threshold / 2),
    minimum_ms: 0,
    settle_ms: hopSeconds * MS_PER_SECOND,
    refractory_ms: REFRACTORY_MS,
    warm_up_ms: 0,
  };
}
