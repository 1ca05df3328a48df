/** Disjoint sets of 0, 1, 2, …: the root of a set is its least member. */
export class UnionFind {
  #parent = new Uint32Array(1024);
  #size = 0;

  /** Adds a set of one, and returns its member. */
  add(): number {
    if (this.#size === this.#parent.length) {
      const larger = new Uint32Array(2 * this.#size);
      larger.set(this.#parent);
      this.#parent = larger;
    }
    this.#parent[this.#size] = this.#size;
    return this.#size++;
  }

  /** The root, with path halving. */
  find(member: number): number {
    const parent = this.#parent;
    let at = member;
    while (parent[at] !== at) {
      parent[at] = parent[parent[at]!]!;
      at = parent[at]!;
    }
    return at;
  }

  union(a: number, b: number): void {
    const [rootA, rootB] = [this.find(a), this.find(b)];
    if (rootA !== rootB) this.#parent[Math.max(rootA, rootB)] = Math.min(rootA, rootB);
  }

  get size(): number {
    return this.#size;
  }
}
