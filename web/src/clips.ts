/** The clips that were kept, and the ZIP in which `kws train data=folder` finds them. */

import { zipSync } from "fflate";
import { button, find, make } from "./dom.ts";
import { texts } from "./texts.ts";
import { writeWav } from "./wav.ts";

export const UNKNOWN = "_unknown_";
/** Between speaker and number, in names of clips. */
const NUMBER_MARK = "_nohash_";
const SPEAKER = /^[\p{L}\p{N}_][\p{L}\p{N}_.-]*$/u;
const WORD = /^[\p{L}\p{N}][\p{L}\p{N}'’ -]*$/u;
const FILE_NAME = "clips.zip";

export interface Clip {
  word: string;
  samples: Float32Array;
  rate: number;
}

export const isWord = (word: string) => WORD.test(word);
export const isSpeaker = (name: string) => SPEAKER.test(name) && !name.includes(NUMBER_MARK);

/** Files `<word>/<speaker>_nohash_<k>.wav`. */
export function zipOf(clips: Clip[], speaker: string): Uint8Array<ArrayBuffer> {
  const files: Record<string, Uint8Array> = {};
  const numbers = new Map<string, number>();
  for (const { word, samples, rate } of clips) {
    const number = numbers.get(word) ?? 0;
    numbers.set(word, number + 1);
    files[`${word}/${speaker}${NUMBER_MARK}${number}.wav`] = writeWav(samples, rate);
  }
  return zipSync(files);
}

export class Clips {
  private clips: Clip[] = [];
  private readonly download = find<HTMLButtonElement>("download");
  private readonly speaker = find<HTMLInputElement>("speaker");

  constructor(private readonly onPlay: (clip: Clip) => void) {
    this.download.onclick = () => this.save();
    this.speaker.oninput = () => this.show();
  }

  keep(clip: Clip): void {
    this.clips.push(clip);
    this.show();
  }

  private remove(clip: Clip): void {
    this.clips = this.clips.filter((other) => other !== clip);
    this.show();
  }

  private show(): void {
    const words = [...new Set(this.clips.map((clip) => clip.word))].sort();
    const rows = words.map((word) => {
      const own = this.clips.filter((clip) => clip.word === word);
      const last = own[own.length - 1];
      const play = button("▶", () => this.onPlay(last));
      play.setAttribute("aria-label", texts.playLast(word));
      const remove = button(texts.removeLast, () => this.remove(last));
      remove.setAttribute("aria-label", texts.removeLastOf(word));
      return make(
        "li",
        {},
        make("strong", {}, word),
        texts.clipCount(own.length),
        make("span", { className: "actions" }, play, remove),
      );
    });
    find("clips").replaceChildren(...rows);
    find("no-clips").hidden = rows.length > 0;
    const isGood = isSpeaker(this.speaker.value);
    this.speaker.setAttribute("aria-invalid", String(!isGood));
    find("speaker-hint").textContent = isGood ? "" : texts.badSpeaker;
    this.download.disabled = rows.length === 0 || !isGood;
  }

  private save(): void {
    const address = URL.createObjectURL(new Blob([zipOf(this.clips, this.speaker.value)], { type: "application/zip" }));
    make("a", { href: address, download: FILE_NAME }).click();
    // Firefox reads it after the click.
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  }
}
