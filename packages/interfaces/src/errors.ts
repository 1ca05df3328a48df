/**
 * The base of every error this project throws on purpose. The message says what was wrong, where, and what to do.
 * `code` is stable and can be matched; `isPosttrainError` works across package copies.
 */
export class PosttrainError extends Error {
  readonly code: string;
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
    Object.defineProperty(this, Symbol.for('posttrain.error'), { value: true });
  }
}

/** Whether `error` was thrown on purpose by any copy of any `@posttrain` package. */
export function isPosttrainError(error: unknown): error is PosttrainError {
  return typeof error === 'object' && error !== null && Symbol.for('posttrain.error') in error;
}

/** The candidate nearest to `name` by edit distance, for "did you mean" in messages; undefined when none is near. */
export function nearestName(name: string, candidates: Iterable<string>): string | undefined {
  // Too long for a typo; comparing takes as long as both names together.
  if (name.length > LONGEST_NAME) return undefined;
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

const LONGEST_NAME = 100;

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length]!;
}
