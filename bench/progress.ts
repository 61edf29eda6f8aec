const WIDTH = 30;

/** A bar on a terminal, which the lines that `print` writes push down; else a line for each step. */
export class Progress {
  readonly #total: number;
  readonly #isTerminal = process.stderr.isTTY === true;
  #done = 0;

  constructor(total: number) {
    this.#total = total;
  }

  /** Tells what is being worked on. */
  step(name: string): void {
    const count = `${this.#done}/${this.#total}`;
    this.#done++;
    if (!this.#isTerminal) {
      process.stderr.write(`[${this.#done}/${this.#total}] ${name}\n`);
      return;
    }
    const filled = Math.round((WIDTH * (this.#done - 1)) / this.#total);
    const bar = '█'.repeat(filled).padEnd(WIDTH, '░');
    process.stderr.write(`\r\x1b[K${bar} ${count} ${name}`);
  }

  print(line: string): void {
    this.clear();
    console.log(line);
  }

  clear(): void {
    if (this.#isTerminal) process.stderr.write('\r\x1b[K');
  }
}
