/** The clips that were kept, and the ZIP in which `kws train data=folder` finds them. */

import { zipSync } from "fflate";
import { button, find, make } from "./dom.ts";
import { texts } from "./texts.ts";
import { writeWav } from "./wav.ts";

export const UNKNOWN = "_unknown_";
/** Between speaker and number, in names of clips. */
const NUMBER_MARK = "_nohash_";
// As `check_speaker` (audio/takes.py) and `is_word` (data/words.py) have them.
const SPEAKER = /^[\p{L}\p{N}_][\p{L}\p{N}_.-]*$/u;
const WORD = /^\p{L}(?:[\p{L}\p{M}'’ -]*[\p{L}\p{M}])?$/u;
const FILE_NAME = "clips.zip";

export interface Clip {
  word: string;
  samples: Float32Array;
  rate: number;
}

/** Milliseconds since 1970 at which it was kept: no clip of the speaker has the same name, in this ZIP or in another. */
interface Kept extends Clip {
  number: number;
}

export const isWord = (word: string) => WORD.test(word);
export const isSpeaker = (name: string) => SPEAKER.test(name) && !name.includes(NUMBER_MARK);

/** Files `<word>/<speaker>_nohash_<number>.wav`. */
function zipOf(clips: Kept[], speaker: string): Uint8Array<ArrayBuffer> {
  const files: Record<string, Uint8Array> = {};
  for (const { word, samples, rate, number } of clips)
    files[`${word}/${speaker}${NUMBER_MARK}${number}.wav`] = writeWav(samples, rate);
  return zipSync(files);
}

export class Clips {
  private clips: Kept[] = [];
  private number = 0;
  private isSaved = true;
  private readonly download = find<HTMLButtonElement>("download");
  private readonly speaker = find<HTMLInputElement>("speaker");

  constructor(private readonly onPlay: (clip: Clip) => void) {
    this.download.onclick = () => this.save();
    this.speaker.oninput = () => this.show();
    window.onbeforeunload = (event) => {
      if (!this.isSaved && this.clips.length > 0) event.preventDefault();
    };
  }

  keep(clip: Clip): void {
    this.number = Math.max(Date.now(), this.number + 1);
    this.clips.push({ ...clip, number: this.number });
    this.isSaved = false;
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
    this.isSaved = true;
    // Firefox reads it after the click.
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  }
}
