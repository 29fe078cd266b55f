/** The threshold of each keyword: a slider and a line, for all words or for one, and what it costs. */

import { markOf, styleOf } from "./colours.ts";
import { find, make } from "./dom.ts";
import type { CurvePoint, ModelInfo } from "./model_info.ts";
import type { Line } from "./plot.ts";
import { texts } from "./texts.ts";

const STEP = 0.001;

export class Thresholds {
  values: Record<string, number> = {};
  /** The keyword whose threshold is shown; null: one for all. */
  chosen: string | null = null;
  private info: ModelInfo | null = null;
  private readonly slider = find<HTMLInputElement>("threshold");
  private readonly resetButton = find<HTMLButtonElement>("threshold-reset");

  constructor(private readonly onChange: () => void) {
    this.slider.oninput = () => this.set(Number(this.slider.value));
    this.resetButton.onclick = () => {
      if (!this.info) return;
      this.values = { ...this.info.detector.thresholds };
      this.show();
      this.onChange();
    };
  }

  load(info: ModelInfo): void {
    this.info = info;
    this.values = { ...info.detector.thresholds };
    this.chosen = null;
    this.slider.disabled = this.resetButton.disabled = false;
    this.slider.min = (info.detector.hysteresis + STEP).toFixed(3);
    this.showLabels(info);
    this.show();
  }

  set(value: number): void {
    const low = Number(this.slider.min);
    const threshold = Math.round(Math.min(Math.max(value, low), 1) / STEP) * STEP;
    for (const keyword of this.shownKeywords) this.values[keyword] = threshold;
    this.show();
    this.onChange();
  }

  get lines(): Line[] {
    if (!this.info) return [];
    if (this.common !== null) return [{ value: this.common, colour: this.chosen ? this.colourOf(this.chosen) : "" }];
    return this.info.keywords.map((keyword) => ({ value: this.values[keyword], colour: this.colourOf(keyword) }));
  }

  /** A few words for beside the line. */
  get note(): string {
    const point = this.point;
    return point ? texts.curveShort(point.miss_rate, point.per_hour) : "";
  }

  private get shownKeywords(): string[] {
    return this.chosen ? [this.chosen] : (this.info?.keywords ?? []);
  }

  private colourOf(keyword: string): string {
    return styleOf(this.info!.keywords.indexOf(keyword)).colour;
  }

  /** The threshold that the shown keywords share, if they do. */
  private get common(): number | null {
    const values = new Set(this.shownKeywords.map((keyword) => this.values[keyword]));
    return values.size === 1 ? [...values][0] : null;
  }

  /** The nearest measured threshold. Those are of one threshold for all keywords. */
  private get point(): CurvePoint | null {
    const common = this.common;
    if (!this.info || common === null) return null;
    const distance = (point: CurvePoint) => Math.abs(point.threshold - common);
    return this.info.curve.reduce<CurvePoint | null>(
      (best, next) => (best === null || distance(next) < distance(best) ? next : best),
      null,
    );
  }

  private showLabels(info: ModelInfo): void {
    const chips = [null, ...info.keywords].map((keyword) => {
      const chip = make("button", { type: "button", className: "chip" }, keyword ?? texts.allWords);
      if (keyword) chip.prepend(markOf(info.keywords.indexOf(keyword)));
      chip.onclick = () => {
        this.chosen = keyword;
        this.show();
        this.onChange();
      };
      return chip;
    });
    const grey = make("span", { className: "mark" });
    find("labels").replaceChildren(...chips, make("span", { className: "quiet other" }, grey, texts.otherSound));
  }

  private show(): void {
    const common = this.common;
    for (const [i, chip] of [...find("labels").querySelectorAll("button")].entries()) {
      const keyword = i === 0 ? null : this.info!.keywords[i - 1];
      chip.setAttribute("aria-pressed", String(keyword === this.chosen));
    }
    if (common !== null) this.slider.value = String(common);
    find("threshold-name").textContent = texts.threshold(this.chosen ?? texts.allWords);
    find("threshold-value").textContent = common === null ? texts.mixed : common.toFixed(3);
    find("threshold-cost").textContent = this.costText();
  }

  private costText(): string {
    const point = this.point;
    if (point) return texts.curveCost(point.threshold, point.miss_rate, point.per_hour, point.limit_95);
    const { threshold, recall, false_alarms_per_clip: alarms } = this.info?.detection ?? {};
    if (this.info?.streaming || recall === undefined || alarms === undefined) return texts.notMeasured;
    return texts.clipCost(threshold, recall, alarms);
  }
}
