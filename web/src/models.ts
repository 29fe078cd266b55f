/** Which models there are: those beside the page, and files that were opened. */

import { find, make } from "./dom.ts";
import { fetchKept } from "./kept.ts";
import { ModelError } from "./model_info.ts";
import { texts } from "./texts.ts";

interface Entry {
  name: string;
  /** Beside the page; null: an opened file. */
  file: string | null;
  card: string | null;
  bytes?: ArrayBuffer;
}

export class Models {
  private entries: Entry[] = [];
  private readonly select = find<HTMLSelectElement>("model");

  constructor(private readonly onModel: (bytes: ArrayBuffer, name: string, card: string | null) => Promise<void>) {}

  /** Load the first of the models that `models.json` names. */
  async start(): Promise<void> {
    const answer = await fetchKept("./models.json");
    const listing = (await answer?.json().catch(() => null)) as { models?: Entry[] } | null;
    this.entries = listing?.models ?? [];
    this.show(0);
    if (this.entries.length === 0) {
      find("status").textContent = texts.noModel;
      return;
    }
    await this.use(this.entries[0]);
  }

  /** A file that was opened or dropped. */
  async add(file: File): Promise<void> {
    const entry = { name: file.name, file: null, card: null, bytes: await file.arrayBuffer() };
    await this.use(entry);
    this.entries = [...this.entries, entry];
    this.show(this.entries.length - 1);
  }

  /** The one that is selected. */
  choose(): Promise<void> {
    return this.use(this.entries[this.select.selectedIndex]);
  }

  private async use(entry: Entry): Promise<void> {
    let bytes = entry.bytes?.slice(0);
    if (!bytes) {
      const answer = await fetchKept(entry.file!);
      if (!answer) throw new ModelError(texts.errors.notFound(entry.name));
      bytes = await answer.arrayBuffer();
    }
    await this.onModel(bytes, entry.name, entry.card ?? null);
  }

  private show(chosen: number): void {
    this.select.replaceChildren(...this.entries.map((entry) => make("option", {}, entry.name)));
    this.select.disabled = this.entries.length === 0;
    if (this.entries.length > 0) this.select.selectedIndex = chosen;
  }
}
