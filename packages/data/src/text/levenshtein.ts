/** Levenshtein's distance of two texts: the fewest insertions, deletions and replacements of a character. */
export function levenshtein(a: string, b: string): number {
  const [from, to] = [[...a], [...b]];
  let before = Array.from({ length: to.length + 1 }, (_, j) => j);
  for (const [i, x] of from.entries()) {
    const row = [i + 1];
    for (const [j, y] of to.entries())
      row.push(Math.min(row[j]! + 1, before[j + 1]! + 1, before[j]! + Number(x !== y)));
    before = row;
  }
  return before[to.length]!;
}
