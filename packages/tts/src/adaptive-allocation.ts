import { assertArgument, type Given, integer, listOf, number, options } from '@posttrain/interfaces';

const allocateOptions = options('allocateCompletions', {
  /** Predicted probability of each problem that one completion solves it, as a probe or a few samples say. */
  probabilities: listOf(number({ min: 0, max: 1 }), {}),
  /** B, the completions of all problems together. */
  total: integer({ min: 0 }),
  /** Of each problem at least. Default 0. */
  min: integer({ default: 0, min: 0 }),
  /** Of each problem at most. Default: no limit. */
  max: integer({ optional: true, min: 1 }),
});
/** Options of `allocateCompletions`. */
export type AllocateCompletionsOptions = Given<typeof allocateOptions>;

/**
 * Input-adaptive allocation of best-of-k with a checker (arXiv 2410.04707 §3): how many completions b_i each problem gets, so that
 *
 *   maximise Σ_i 1 − (1 − λ_i)^{b_i}   with   Σ_i b_i ≤ B
 *
 * One more completion gains Δ_i(b) = λ_i (1 − λ_i)^b, which falls with b, so the greedy choice of the largest gain is optimal. Ties go to the
 * earlier problem; what gains nothing (λ = 0, or solved for certain) gets none beyond `min`.
 *
 * @throws OptionError, and where `min` of each is more than the total
 */
export function allocateCompletions(given: AllocateCompletionsOptions): number[] {
  const { probabilities, total, min, max = Number.POSITIVE_INFINITY } = allocateOptions.read(given);
  const { where } = allocateOptions;
  const isEnough = min * probabilities.length <= total && min <= max;
  assertArgument(
    where,
    'min',
    min,
    isEnough,
    `at most max, and for all problems together at most the total of ${total}`,
  );
  const counts = probabilities.map(() => min);
  const gains = probabilities.map((p) => (min >= max ? 0 : p * (1 - p) ** min));
  /** Binary heap of the problems by what one more gains, the largest first, of equals the earlier. */
  const heap = gains.flatMap((gain, i) => (gain > 0 ? [i] : []));
  const isBefore = (a: number, b: number): boolean => (gains[a] === gains[b] ? a < b : gains[a]! > gains[b]!);
  const sift = (from: number): void => {
    for (let at = from; ; ) {
      let first = at;
      for (const child of [2 * at + 1, 2 * at + 2]) {
        if (child < heap.length && isBefore(heap[child]!, heap[first]!)) first = child;
      }
      if (first === at) return;
      [heap[at], heap[first]] = [heap[first]!, heap[at]!];
      at = first;
    }
  };
  for (let at = heap.length >> 1; at-- > 0; ) sift(at);
  for (let left = total - min * probabilities.length; left > 0; left--) {
    const i = heap[0];
    if (i === undefined || gains[i] === 0) break;
    counts[i]!++;
    gains[i] = counts[i]! >= max ? 0 : gains[i]! * (1 - probabilities[i]!);
    sift(0);
  }
  return counts;
}
