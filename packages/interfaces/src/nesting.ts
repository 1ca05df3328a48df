/**
 * Whether a value of JSON has lists and objects inside each other more than `most` deep. Files that do are not meant, and
 * what walks through them by recursion (`JSON.stringify`, for a message) runs out of stack.
 */
export function isDeeperThan(value: unknown, most: number): boolean {
  let level: unknown[] = [value];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > most) return true;
    level = level.flatMap((item) => (typeof item === 'object' && item !== null ? Object.values(item) : []));
    level = level.filter((item) => typeof item === 'object' && item !== null);
  }
  return false;
}
