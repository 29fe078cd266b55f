/** The microphone, from permission to the audio thread. */

import workletAddress from "./worklet.ts?worker&url";
import { readWav } from "./wav.ts";
import { find, make } from "./dom.ts";
import { texts } from "./texts.ts";

/** Of a sound file; it is kept in memory as a whole. */
const LONGEST_SECONDS = 600;

export interface Processing {
  echoCancellation: boolean;
  noiseSuppression: boolean;
  autoGainControl: boolean;
}

export class SoundError extends Error {}

export interface Microphone {
  context: AudioContext;
  /** Where the audio thread sends what it captures. */
  port: MessagePort;
  rate: number;
  label: string;
  /** What the browser does to the sound although it was asked not to. */
  insists: (keyof Processing)[];
  close: () => void;
}

/** Which microphone, and what the browser may do to its sound. */
export class MicrophoneChoice {
  private readonly select = find<HTMLSelectElement>("device");
  private readonly names = ["echoCancellation", "noiseSuppression", "autoGainControl"] as const;

  constructor(onChange: () => void) {
    this.select.onchange = onChange;
    for (const name of this.names) find(name).onchange = onChange;
    this.select.replaceChildren(make("option", { value: "" }, texts.defaultDevice));
  }

  get device(): string {
    return this.select.value;
  }

  get processing(): Processing {
    const isOn = (name: string) => find<HTMLInputElement>(name).checked;
    const [echoCancellation, noiseSuppression, autoGainControl] = this.names.map(isOn);
    return { echoCancellation, noiseSuppression, autoGainControl };
  }

  /** What browsers tell only once one microphone is open. */
  async show({ insists }: Microphone): Promise<void> {
    find("insists").textContent = insists.length > 0 ? texts.insists(insists.map((name) => texts[name])) : "";
    const chosen = this.device;
    const devices = await navigator.mediaDevices.enumerateDevices();
    const inputs = devices.filter(({ kind, deviceId }) => kind === "audioinput" && deviceId !== "default");
    const options = inputs.map(({ deviceId, label }, i) =>
      make("option", { value: deviceId }, label || texts.unnamedDevice(i + 1)),
    );
    this.select.replaceChildren(make("option", { value: "" }, texts.defaultDevice), ...options);
    this.select.value = chosen;
  }
}

/** Open the microphone; `onEnd` is called when it is taken away. */
export async function openMicrophone(
  device: string,
  processing: Processing,
  rate: number,
  onEnd: () => void,
): Promise<Microphone> {
  if (!("mediaDevices" in navigator)) throw new SoundError(texts.errors.insecure);
  const wanted = { ...processing, channelCount: 1, ...(device ? { deviceId: { exact: device } } : {}) };
  let stream: MediaStream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: wanted });
  } catch (error) {
    throw new SoundError(reasonOf(error));
  }
  const [track] = stream.getAudioTracks();
  const [context, source] = contextFor(stream, rate);
  const close = () => {
    track.stop();
    void context.close();
  };
  await context.audioWorklet.addModule(workletAddress).catch(() => {
    close();
    throw new SoundError(texts.errors.notFound(texts.part));
  });
  const node = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0 });
  const channel = new MessageChannel();
  node.port.postMessage(channel.port1, [channel.port1]);
  source.connect(node);
  void context.resume();
  track.onended = onEnd;
  const settings = track.getSettings();
  const names = Object.keys(processing) as (keyof Processing)[];
  return {
    context,
    port: channel.port2,
    rate: context.sampleRate,
    label: track.label,
    insists: names.filter((name) => settings[name] === true && !processing[name]),
    close,
  };
}

/** A context of the model's rate where the browser grants it, otherwise of the device's own. */
function contextFor(stream: MediaStream, rate: number): [AudioContext, MediaStreamAudioSourceNode] {
  let context: AudioContext | null = null;
  try {
    context = new AudioContext({ sampleRate: rate });
    return [context, context.createMediaStreamSource(stream)];
  } catch {
    void context?.close();
    context = new AudioContext();
    return [context, context.createMediaStreamSource(stream)];
  }
}

function reasonOf(error: unknown): string {
  const name = error instanceof DOMException ? error.name : "";
  if (name === "NotAllowedError" || name === "SecurityError") return texts.errors.denied;
  if (name === "NotFoundError") return texts.errors.noMicrophone;
  if (name === "OverconstrainedError") return texts.errors.goneMicrophone;
  if (name === "NotReadableError" || name === "AbortError") return texts.errors.busyMicrophone;
  return `${texts.errors.microphone} (${String(error)}).`;
}

/** Read a sound file as mono at this rate. */
export async function readSound(name: string, bytes: ArrayBuffer, rate: number): Promise<Float32Array> {
  const plain = readWav(new Uint8Array(bytes), rate);
  if (plain && plain.length > 0 && plain.length <= LONGEST_SECONDS * rate) return plain;
  const context = new OfflineAudioContext(1, 1, rate);
  let sound: AudioBuffer;
  try {
    sound = await context.decodeAudioData(bytes);
  } catch {
    throw new SoundError(texts.errors.noSound(name));
  }
  if (sound.duration > LONGEST_SECONDS) throw new SoundError(texts.errors.longSound(name, LONGEST_SECONDS));
  const mono = new Float32Array(sound.length);
  for (let k = 0; k < sound.numberOfChannels; k++) {
    const channel = sound.getChannelData(k);
    for (let i = 0; i < mono.length; i++) mono[i] += channel[i] / sound.numberOfChannels;
  }
  return mono;
}
