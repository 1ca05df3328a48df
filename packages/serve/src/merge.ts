/**
 * Merges async iterators: what several sources give, in order of arrival, each with the number of its source. When the
 * reader stops, or one source fails, all sources are told to end.
 */
export async function* merge<T>(sources: readonly AsyncIterable<T>[]): AsyncGenerator<{ index: number; value: T }> {
  const iterators = sources.map((source) => source[Symbol.asyncIterator]());
  const next = (index: number) => iterators[index]!.next().then((result) => ({ index, result }));
  const pending = new Map(iterators.map((_, index) => [index, next(index)]));
  try {
    while (pending.size > 0) {
      const { index, result } = await Promise.race(pending.values());
      if (result.done) pending.delete(index);
      else {
        pending.set(index, next(index));
        yield { index, value: result.value };
      }
    }
  } finally {
    for (const promise of pending.values()) promise.catch(() => {});
    // A source in the middle of a step ends after it, without being awaited.
    for (const index of pending.keys()) iterators[index]!.return?.().catch(() => {});
  }
}
