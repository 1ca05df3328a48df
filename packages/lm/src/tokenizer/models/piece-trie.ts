/** Finds which pieces a text goes on with. Children of a node lie side by side, in order of their code unit. */
export class PieceTrie {
  /** The node of each first code unit. */
  readonly #roots = new Int32Array(0x10000).fill(-1);
  readonly #units: Uint16Array;
  readonly #firstChild: Int32Array;
  readonly #children: Int32Array;
  readonly #ids: Int32Array;

  constructor(pieces: ReadonlyMap<string, number>) {
    const sorted = [...pieces.keys()].filter((piece) => piece !== '').sort((a, b) => (a < b ? -1 : 1));
    const units: number[] = [];
    const firstChild: number[] = [];
    const children: number[] = [];
    const ids: number[] = [];
    // Breadth first, so that a node's children are made in a row: each task is a node and its pieces, `[from, to)`.
    let tasks: { node: number; from: number; to: number }[] = [{ node: -1, from: 0, to: sorted.length }];
    for (let depth = 0; tasks.length > 0; depth++) {
      const next: typeof tasks = [];
      for (const { node, from, to } of tasks) {
        // A piece that ends here comes first, and belongs to the node itself.
        let i = from;
        if (node >= 0 && sorted[i]!.length === depth) i++;
        if (node >= 0) {
          firstChild[node] = units.length;
          children[node] = 0;
        }
        while (i < to) {
          const unit = sorted[i]!.charCodeAt(depth);
          let end = i + 1;
          while (end < to && sorted[end]!.charCodeAt(depth) === unit) end++;
          const child = units.push(unit) - 1;
          ids.push(sorted[i]!.length === depth + 1 ? pieces.get(sorted[i]!)! : -1);
          if (node >= 0) children[node]!++;
          else this.#roots[unit] = child;
          next.push({ node: child, from: i, to: end });
          i = end;
        }
      }
      tasks = next;
    }
    this.#units = Uint16Array.from(units);
    this.#firstChild = Int32Array.from(firstChild);
    this.#children = Int32Array.from(children);
    this.#ids = Int32Array.from(ids);
  }

  /** Calls `found` for each piece that stands in `text` at `start`, the shortest first. */
  prefixes(text: string, start: number, found: (end: number, id: number) => void): void {
    let node = start < text.length ? this.#roots[text.charCodeAt(start)]! : -1;
    for (let at = start + 1; node >= 0; at++) {
      if (this.#ids[node]! >= 0) found(at, this.#ids[node]!);
      node = at < text.length ? this.#child(node, text.charCodeAt(at)) : -1;
    }
  }

  #child(node: number, unit: number): number {
    let low = this.#firstChild[node]!;
    let high = low + this.#children[node]!;
    const end = high;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#units[middle]! < unit) low = middle + 1;
      else high = middle;
    }
    return low < end && this.#units[low] === unit ? low : -1;
  }
}
