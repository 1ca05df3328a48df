/** Records of a bucket that are sorted by insertion. */
const FEW = 24;

/** As `memcmp` of two records; of those that differ early, a loop is faster than a call of `Buffer.compare`. */
export function compareRecords(
  a: Uint8Array,
  aAt: number,
  b: Uint8Array,
  bAt: number,
  bytes: number,
  from = 0,
): number {
  for (let i = from; i < bytes; i++) {
    const difference = a[aAt + i]! - b[bAt + i]!;
    if (difference !== 0) return difference;
  }
  return 0;
}

/**
 * The numbers 0 to `count` − 1 of records of `bytes` each, in the order of the records: a radix sort from the first byte on, eight bytes of memory to a record.
 */
export function sortedOrder(buffer: Uint8Array, count: number, bytes: number): Uint32Array {
  const order = new Uint32Array(count);
  for (let i = 0; i < count; i++) order[i] = i;
  const other = new Uint32Array(count);

  const byInsertion = (low: number, high: number, depth: number): void => {
    for (let i = low + 1; i < high; i++) {
      const moved = order[i]!;
      let to = i;
      for (; to > low; to--) {
        if (compareRecords(buffer, order[to - 1]! * bytes, buffer, moved * bytes, bytes, depth) <= 0) break;
        order[to] = order[to - 1]!;
      }
      order[to] = moved;
    }
  };
  const sort = (low: number, high: number, start: number): void => {
    for (let depth = start; depth < bytes; depth++) {
      if (high - low <= FEW) {
        byInsertion(low, high, depth);
        return;
      }
      const ends = new Uint32Array(257);
      for (let i = low; i < high; i++) ends[buffer[order[i]! * bytes + depth]! + 1]!++;
      // All in one bucket: on with the next byte.
      if (ends[buffer[order[low]! * bytes + depth]! + 1] === high - low) continue;
      for (let value = 1; value < 257; value++) ends[value]! += ends[value - 1]!;
      const starts = ends.slice();
      for (let i = low; i < high; i++) {
        const record = order[i]!;
        other[low + ends[buffer[record * bytes + depth]!]!++] = record;
      }
      order.set(other.subarray(low, high), low);
      for (let value = 0; value < 256; value++) {
        const [first, end] = [low + starts[value]!, low + starts[value + 1]!];
        if (end - first > 1) sort(first, end, depth + 1);
      }
      return;
    }
  };
  sort(0, count, 0);
  return order;
}
