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
  private used: Entry | null = null;
  private readonly select = find<HTMLSelectElement>("model");

  constructor(private readonly onModel: (bytes: ArrayBuffer, name: string, card: string | null) => Promise<void>) {}

  /** Load the first of the models that `models.json` names. */
  async start(): Promise<void> {
    const answer = await fetchKept("./models.json");
    const listing = (await answer?.json().catch(() => null)) as { models?: Entry[] } | null;
    this.entries = listing?.models ?? [];
    this.show();
    if (this.entries.length === 0) {
      find("status").textContent = texts.noModel;
      return;
    }
    this.select.selectedIndex = 0;
    await this.use(this.entries[0]);
  }

  /** A file that was opened or dropped. */
  add(name: string, bytes: ArrayBuffer): Promise<void> {
    return this.use({ name, file: null, card: null, bytes });
  }

  /** The one that is selected. */
  choose(): Promise<void> {
    return this.use(this.entries[this.select.selectedIndex]);
  }

  private async use(entry: Entry): Promise<void> {
    find("status").textContent = texts.loading(entry.name);
    try {
      const bytes = entry.bytes?.slice(0) ?? (await (await fetchKept(entry.file!))?.arrayBuffer().catch(() => null));
      if (!bytes) throw new ModelError(texts.errors.notFound(entry.name));
      await this.onModel(bytes, entry.name, entry.card ?? null);
      this.used = entry;
      if (!this.entries.includes(entry)) this.entries.push(entry);
    } finally {
      this.show();
    }
  }

  /** The models, and as chosen the one in use, which stays where another cannot be loaded. */
  private show(): void {
    this.select.replaceChildren(...this.entries.map((entry) => make("option", {}, entry.name)));
    this.select.disabled = this.entries.length === 0;
    this.select.selectedIndex = this.used ? this.entries.indexOf(this.used) : -1;
  }
}
