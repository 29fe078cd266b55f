/** Plays sound that lies in memory. */
export class Player {
  private context: AudioContext | null = null;
  private source: AudioBufferSourceNode | null = null;
  private begin = 0;
  private onEnd: () => void = () => undefined;

  /** Whether it plays, and how many seconds of it have been heard. */
  get seconds(): number | null {
    return this.source && this.context ? this.context.currentTime - this.begin : null;
  }

  /** In the place of what plays; `onEnd` is called once, when it ends or is stopped. */
  play(samples: Float32Array, rate: number, onEnd: () => void = () => undefined): void {
    this.stop();
    if (samples.length === 0) return onEnd();
    this.context ??= new AudioContext();
    void this.context.resume();
    const buffer = this.context.createBuffer(1, samples.length, rate);
    buffer.getChannelData(0).set(samples);
    const source = new AudioBufferSourceNode(this.context, { buffer });
    source.onended = () => this.source === source && this.stop();
    source.connect(this.context.destination);
    source.start();
    [this.source, this.onEnd] = [source, onEnd];
    this.begin = this.context.currentTime;
  }

  stop(): void {
    const { source, onEnd } = this;
    if (!source) return;
    this.source = null;
    source.stop();
    onEnd();
  }
}
