/** What was heard, the latest first. */

import { styleOf } from "./colours.ts";
import type { Event } from "./detector.ts";
import { button, clock, find, make } from "./dom.ts";
import { texts } from "./texts.ts";

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
  private readonly list = find<HTMLOListElement>("events");

  constructor(
    private readonly onPlay: (event: HeardEvent) => void,
    private readonly onSeek: (seconds: number) => void,
  ) {}

  get length(): number {
    return this.events.length;
  }

  get marks(): { time: number; keyword: number }[] {
    return this.events.map((event) => ({ time: event.time, keyword: event.keywordNumber }));
  }

  clear(): void {
    this.events = [];
    this.list.replaceChildren();
    find("no-events").hidden = false;
  }

  add(event: HeardEvent): void {
    this.events = [event, ...this.events].slice(0, MOST_EVENTS);
    this.list.prepend(this.row(event));
    while (this.list.children.length > MOST_EVENTS) this.list.lastElementChild!.remove();
    find("no-events").hidden = true;
  }

  private row(event: HeardEvent): HTMLLIElement {
    const mark = make("span", { className: "mark" });
    mark.style.borderColor = styleOf(event.keywordNumber).colour;
    const play = button("▶", () => this.onPlay(event));
    play.setAttribute("aria-label", texts.playEvent(event.keyword));
    return make(
      "li",
      {},
      mark,
      make("strong", {}, event.keyword),
      make("span", {}, texts.eventScore(event.score)),
      button(clock(event.time), () => this.onSeek(event.time), "plain"),
      make(
        "span",
        { className: "latency", title: texts.latencyMeaning },
        event.latency === null ? "" : texts.latency(event.latency),
      ),
      play,
    );
  }
}
