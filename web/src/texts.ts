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
  otherSound: "other sound",
  scoresPicture: "Scores of all words over the last seconds, and the threshold as a line that can be dragged",
  melPicture: "Log-mel picture of the sound",
  wavePicture: "Waveform of the sound",
  melTitle: "log-mel",
  waveTitle: "sound",
  threshold: (word: string) => `Threshold, ${word}`,
  resetThreshold: "As in the model",
  mixed: "one for each",
  events: "Heard",
  noEvents: "Nothing yet. Press Listen and say one of the words.",
  playEvent: (word: string) => `Play ${word}`,
  announced: (word: string, score: number, time: string) => `${word}, ${percent(score)}, at ${time}`,
  eventScore: (score: number) => percent(score),
  latency: (seconds: number) => `${rounded(seconds)} s`,
  latencyMeaning: "From the threshold being reached to being shown",
  part: "A part of this page",
  drop: "Drop a model (.onnx) or a sound file",
  licences: "Licences of what this page contains",
  noModel: "No model is here. Drop a model.onnx on this page, or open one.",
  loading: (name: string) => `Loading ${name} …`,
  ready: (name: string, words: string[]) => `${name} is ready. It knows: ${words.join(", ")}.`,
  listening: (label: string) => `Listening to ${label}.`,
  reading: (name: string) => `Reading ${name} …`,
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
  right: "Right",
  wrong: "Wrong",
  keepRight: (word: string) => `Right: keep as ${word}`,
  keepWrong: (word: string) => `Wrong: it was not ${word}, keep as another word`,
  missedWord: "Missed word",
  missed: "Missed: keep the last second",
  missedNothing: "There is no sound to keep: listen first, or move the cursor of a recording behind the word.",
  clips: "Clips for training",
  clipsMeaning:
    "Right, Wrong and Missed keep the second of sound here. Unzip what you download, and train with data.root= of that folder.",
  noClips: "None yet.",
  clipCount: (count: number) => `${count} ${count === 1 ? "clip" : "clips"}`,
  playLast: (word: string) => `Play the last clip of ${word}`,
  removeLast: "Remove last",
  removeLastOf: (word: string) => `Remove last clip of ${word}`,
  speaker: "Speaker",
  badSpeaker: "Letters, digits, - and _ only.",
  download: "Download clips",
  ownWord: "Record a word of your own",
  word: "Word",
  record: "Record ten takes",
  stopRecording: "Stop recording",
  takesDone: "Takes",
  takes: {
    badWord: "Type a word first, of letters.",
    ready: (word: string, number: number, count: number) => `“${word}”, ${number} of ${count}: get ready …`,
    now: (word: string) => `Say “${word}” now.`,
    again: (fault: string) => `Once more: ${fault}.`,
    ended: (count: number, word: string) => `Stopped after ${count} good takes of “${word}”.`,
    done: (count: number, word: string) => `${count} takes of “${word}” are below.`,
    givenUp: (count: number, reason: string) =>
      `${count} takes in a row were no good. ${reason} Look at the microphone.`,
    clipped: "too loud, it is clipped; move away",
    quiet: (level: number) => `too quiet (${level.toFixed(0)} dBFS); move nearer`,
    noisy: (level: number) => `only ${level.toFixed(0)} dB above the noise; speak up or find a quieter place`,
    short: (seconds: number) => `only ${rounded(seconds)} s of sound; say the whole word`,
    long: (seconds: number, longest: number) => `${rounded(seconds)} s of sound; say it once, within ${longest} s`,
  },
  microphone: "Microphone",
  device: "Device",
  defaultDevice: "as the browser chooses",
  unnamedDevice: (number: number) => `microphone ${number}`,
  processingMeaning: "What the browser may do to the sound. Training knows none of it, so all are off.",
  echoCancellation: "Echo cancellation",
  noiseSuppression: "Noise suppression",
  autoGainControl: "Automatic gain",
  insists: (names: string[]) => `This browser does it all the same: ${names.join(", ").toLowerCase()}.`,
  about: "About this model",
  cardLink: "The model's card",
  card: {
    labels: "Labels",
    listens: "Listens to",
    stream: (frameMs: number) => `a stream, an answer every ${frameMs} ms`,
    clips: (seconds: number, frameMs: number) => `windows of ${seconds} s, one every ${frameMs.toFixed(0)} ms`,
    rate: "Sample rate",
    size: "Size",
    sizes: (bytes: number, parameters: unknown, multiplyAdds: unknown) =>
      [
        `${(bytes / 1000).toFixed(0)} kB`,
        typeof parameters === "number" ? `${parameters.toLocaleString("en")} parameters` : "",
        typeof multiplyAdds === "number"
          ? `${(multiplyAdds / 1000 / 1000).toFixed(1)} million multiply-adds a clip`
          : "",
      ]
        .filter(Boolean)
        .join(", "),
    network: "Network",
    data: "Trained on",
    accuracy: "Accuracy",
    share: (share: unknown, clips: unknown, split: unknown) =>
      typeof share === "number" ? `${percent(share)} of ${String(clips)} ${String(split)} clips` : undefined,
    precision: "Precision",
    run: "Training run",
  },
  errors: {
    insecure: "Browsers give a microphone only to pages from https:// or from this machine (localhost).",
    denied: "The microphone was refused: allow it for this page in the browser's address bar, then press Listen.",
    noMicrophone: "There is no microphone: plug one in, or open a sound file.",
    goneMicrophone: "The chosen microphone is not there: plug it in, or choose another one below, then press Listen.",
    busyMicrophone: "The microphone cannot be opened: another program may use it.",
    microphone: "The microphone cannot be opened",
    lostMicrophone: "The microphone was taken away: plug it in and press Listen.",
    unreadable: (name: string) => `${name} cannot be read: expected a file, no folder, of less than 2 GB.`,
    noSound: (name: string) => `${name} is no sound that this browser can read: expected WAV, FLAC, Ogg or MP3.`,
    longSound: (name: string, seconds: number) => `${name} is longer than ${seconds} seconds: cut it.`,
    notFound: (name: string) => `${name} cannot be fetched: is the server still there?`,
    broken: (message: string) => `The model failed (${message}): load it again.`,
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
