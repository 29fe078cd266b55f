/** What was heard, the latest first. */

import type { Clip } from "./clips.ts";
import { UNKNOWN } from "./clips.ts";
import { markOf } from "./colours.ts";
import type { Event } from "./detector.ts";
import { button, clock, find, make } from "./dom.ts";
import { texts } from "./texts.ts";

/** Of the microphone, which may be heard for days. */
const MOST_EVENTS = 100;

export interface HeardEvent extends Event {
  keywordNumber: number;
  /** From the threshold being reached to being shown (seconds); null for a file. */
  latency: number | null;
  sound: Float32Array;
  rate: number;
}

export class EventList {
  private events: HeardEvent[] = [];
  private most = MOST_EVENTS;
  private readonly list = find<HTMLOListElement>("events");

  constructor(
    private readonly onPlay: (event: HeardEvent) => void,
    private readonly onSeek: (seconds: number) => void,
    private readonly onKeep: (clip: Clip) => void,
  ) {}

  get length(): number {
    return this.events.length;
  }

  get marks(): { time: number; keyword: number }[] {
    return this.events.map((event) => ({ time: event.time, keyword: event.keywordNumber }));
  }

  /** For a file, whose events are all kept, or the microphone. */
  clear(isFile: boolean): void {
    this.most = isFile ? Infinity : MOST_EVENTS;
    this.events = [];
    this.list.replaceChildren();
    find("no-events").hidden = false;
  }

  add(event: HeardEvent): void {
    this.events = [event, ...this.events].slice(0, this.most);
    this.list.prepend(this.row(event));
    while (this.list.children.length > this.most) this.list.lastElementChild!.remove();
    find("no-events").hidden = true;
  }

  private row(event: HeardEvent): HTMLLIElement {
    const play = button("▶", () => this.onPlay(event));
    play.setAttribute("aria-label", texts.playEvent(event.keyword));
    return make(
      "li",
      {},
      make("strong", {}, markOf(event.keywordNumber), event.keyword),
      make("span", {}, texts.eventScore(event.score)),
      event.latency === null
        ? button(clock(event.time), () => this.onSeek(event.time), "plain")
        : make("span", {}, clock(event.time)),
      make(
        "span",
        { className: "latency", title: texts.latencyMeaning },
        event.latency === null ? "" : texts.latency(event.latency),
      ),
      make("span", { className: "actions" }, play, ...this.judgements(event)),
    );
  }

  /** Right and wrong: one of them, once. */
  private judgements(event: HeardEvent): HTMLButtonElement[] {
    const judge = (text: string, name: string, word: string) => {
      const made = button(text, () => {
        for (const other of both) other.disabled = true;
        made.setAttribute("aria-pressed", "true");
        this.onKeep({ word, samples: event.sound, rate: event.rate });
      });
      made.setAttribute("aria-label", name);
      made.setAttribute("aria-pressed", "false");
      return made;
    };
    const { keyword } = event;
    const both = [
      judge(texts.right, texts.keepRight(keyword), keyword),
      judge(texts.wrong, texts.keepWrong(keyword), UNKNOWN),
    ];
    return both;
  }
}
