/** The last records of a stream, each of `width` numbers, in memory that does not grow. */
export class Track {
  private readonly values: Float32Array;
  /** Number of the record that comes next. */
  end = 0;

  constructor(
    readonly width: number,
    private readonly capacity: number,
  ) {
    this.values = new Float32Array(width * capacity);
  }

  /** Number of the oldest record that is kept. */
  get first(): number {
    return Math.max(this.end - this.capacity, 0);
  }

  push(records: Float32Array): void {
    for (let start = 0; start < records.length; start += this.width) {
      this.values.set(records.subarray(start, start + this.width), (this.end % this.capacity) * this.width);
      this.end++;
    }
  }

  at(record: number): Float32Array {
    const start = (record % this.capacity) * this.width;
    return this.values.subarray(start, start + this.width);
  }

  value(record: number): number {
    return this.values[(record % this.capacity) * this.width];
  }

  /** Of records of one number: those from `start` to `stop`, as far as they are kept. */
  slice(start: number, stop: number): Float32Array {
    const [first, last] = [Math.max(start, this.first), Math.min(stop, this.end)];
    // Float32Array.from with a function takes several times as long.
    const records = new Float32Array(Math.max(last - first, 0));
    for (let i = 0; i < records.length; i++) records[i] = this.value(first + i);
    return records;
  }
}
