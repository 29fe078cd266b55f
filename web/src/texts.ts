/** Every text of the page, in English. */

const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
const rounded = (value: number, digits = 2) => value.toFixed(digits);

export const texts = {
  title: "Keyword spotter",
  privacy: "Everything runs in this browser: no sound leaves it.",
  model: "Model",
  openModel: "Open a model…",
  hears: "What it hears",
  listen: "Listen",
  stop: "Stop",
  openSound: "Open a sound file…",
  level: "Sound level, dB below full scale",
  play: "Play",
  pause: "Pause",
  position: "Position in the sound",
  chooseWord: "Whose threshold is shown",
  allWords: "all words",
  scoresPicture: "Scores of all words over the last seconds, and the threshold as a line that can be dragged",
  melPicture: "Log-mel picture of the sound",
  wavePicture: "Waveform of the sound",
  scoresTitle: "score",
  melTitle: "log-mel",
  waveTitle: "sound",
  threshold: (word: string) => `Threshold, ${word}`,
  resetThreshold: "As in the model",
  mixed: "one for each",
  events: "Heard",
  noEvents: "Nothing yet. Press Listen and say one of the words.",
  playEvent: (word: string) => `Play ${word}`,
  eventScore: (score: number) => percent(score),
  latency: (seconds: number) => `${rounded(seconds)} s`,
  latencyMeaning: "From the threshold being reached to being shown",
  drop: "Drop a model (.onnx) or a sound file",
  noModel: "No model is here. Drop a model.onnx on this page, or open one.",
  loading: (name: string) => `Loading ${name} …`,
  ready: (name: string, words: string[]) => `${name} is ready. It knows: ${words.join(", ")}.`,
  listening: (label: string) => `Listening to ${label}.`,
  scoring: (name: string) => `Listening to ${name} …`,
  scored: (name: string, seconds: number, events: number) =>
    `${name}: ${rounded(seconds, 1)} s, ${events} ${events === 1 ? "event" : "events"}.`,
  stopped: "Stopped.",
  suspended: "The browser has paused the sound: press Stop, then Listen.",
  resampled: (from: number, to: number) => `The browser gives ${from} Hz; it is converted to ${to} Hz here.`,
  hints: {
    clipped: "Too loud: it is clipped.",
    quiet: "Very quiet: move nearer.",
    zeros: "Only zeros: the microphone is muted.",
  },
  curveCost: (threshold: number, missed: number, perHour: number | null, limit: number | null) =>
    `At ${rounded(threshold, 3)}, the nearest that was measured, it missed ${percent(missed)} of the words` +
    (perHour === null ? "." : ` and gave ${rounded(perHour)} false alarms an hour`) +
    (limit === null ? "." : ` (below ${rounded(limit)} with 95 % confidence).`),
  curveShort: (missed: number, perHour: number | null) =>
    `misses ${percent(missed)}` + (perHour === null ? "" : `, ${rounded(perHour)} false alarms/h`),
  clipCost: (threshold: number, recall: number, alarms: number) =>
    `At ${rounded(threshold, 3)}, the model's own, it finds ${percent(recall)} of the words in validation clips, ` +
    `and takes ${percent(alarms)} of other clips for one.`,
  notMeasured: "What a threshold costs was not measured: kws tune does.",
  cost: (median: number, slow: number, share: number, hopMs: number, skipped: number) =>
    `Model: ${rounded(median)} ms for ${hopMs} ms of sound (99 % within ${rounded(slow)} ms), ` +
    `${percent(share)} of one core, ${skipped} frames skipped.`,
  errors: {
    insecure: "Browsers give a microphone only to pages from https:// or from this machine (localhost).",
    denied: "The microphone was refused: allow it for this page in the browser's address bar, then press Listen.",
    noMicrophone: "There is no microphone: plug one in, or open a sound file.",
    busyMicrophone: "The microphone cannot be opened: another program may use it.",
    microphone: "The microphone cannot be opened",
    lostMicrophone: "The microphone was taken away: plug it in and press Listen.",
    noSound: (name: string) => `${name} is no sound that this browser can read: expected WAV, FLAC, Ogg or MP3.`,
    longSound: (name: string, seconds: number) => `${name} is longer than ${seconds} seconds: cut it.`,
    notFound: (name: string) => `${name} cannot be fetched: is the server still there?`,
    broken: (message: string) => `The model failed (${message}): load it again.`,
    unknownFile: (name: string) => `${name} is neither a model (.onnx) nor a sound file.`,
  },
};

/** Put the texts into the page: `data-text` as content, `data-label` as the name for screen readers. */
export function fillTexts(root: ParentNode): void {
  const plain = texts as unknown as Record<string, string>;
  for (const element of root.querySelectorAll<HTMLElement>("[data-text]")) {
    element.textContent = plain[element.dataset.text!];
  }
  for (const element of root.querySelectorAll<HTMLElement>("[data-label]")) {
    element.setAttribute("aria-label", plain[element.dataset.label!]);
  }
}
