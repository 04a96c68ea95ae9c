const GAP = '   ';

/** Columns under headings, as kubectl lays them out: as wide as what has been printed needs, and never narrower again. */
export class TextTable {
  readonly #headings: readonly string[];
  readonly #widths: number[];
  #begun = false;

  constructor(headings: readonly string[]) {
    this.#headings = headings;
    this.#widths = headings.map(() => 0);
  }

  /** The rows, each a line that ends with a newline; the first time under the headings. */
  lines(rows: readonly (readonly string[])[]): string {
    const all = this.#begun ? rows : [this.#headings, ...rows];
    this.#begun = true;
    for (const cells of all) {
      for (const [column, cell] of cells.entries()) {
        this.#widths[column] = Math.max(this.#widths[column] ?? 0, cell.length);
      }
    }
    return all.map(cells => `${this.#line(cells)}\n`).join('');
  }

  #line(cells: readonly string[]): string {
    return cells
      .map((cell, column) => cell.padEnd(this.#widths[column] ?? 0))
      .join(GAP)
      .trimEnd();
  }
}
