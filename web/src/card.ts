/** What the model says about itself. */

import { find, make } from "./dom.ts";
import type { ModelInfo } from "./model_info.ts";
import { texts } from "./texts.ts";

const MS_PER_SECOND = 1000;

export function showCard(info: ModelInfo, bytes: number, card: string | null): void {
  const { training, labels, sampleRate, clipSamples, frameSamples } = info;
  const [frameMs, clipSeconds] = [(MS_PER_SECOND * frameSamples) / sampleRate, clipSamples / sampleRate];
  const names = texts.card;
  const rows: [string, string | undefined][] = [
    [names.labels, labels.join(", ")],
    [names.listens, info.streaming ? names.stream(frameMs) : names.clips(clipSeconds, frameMs)],
    [names.rate, `${sampleRate} Hz`],
    [names.size, names.sizes(bytes, training.parameters, training.multiply_adds)],
    [names.network, (training.backbone as { name?: string } | undefined)?.name],
    [names.data, textOf(training.data_description ?? training.data)],
    [names.accuracy, names.share(training.accuracy, training.accuracy_clips, training.accuracy_split)],
    [names.precision, textOf(training.precision)],
    [names.run, textOf(training.run)],
  ];
  const known = rows.filter(([, text]) => text);
  find("card").replaceChildren(...known.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text!)]));
  const link = find<HTMLAnchorElement>("card-link");
  link.hidden = card === null;
  if (card) link.href = card;
}

const textOf = (value: unknown) => (typeof value === "string" ? value : undefined);
