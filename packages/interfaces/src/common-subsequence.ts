/** Lengths of the longest common subsequences of all beginnings: row i, column j of the first i and the first j items. */
export function commonSubsequences<T>(some: readonly T[], others: readonly T[]): Uint32Array[] {
  const table = Array.from({ length: some.length + 1 }, () => new Uint32Array(others.length + 1));
  for (let i = 1; i <= some.length; i++) {
    for (let j = 1; j <= others.length; j++) {
      table[i]![j] =
        some[i - 1] === others[j - 1] ? table[i - 1]![j - 1]! + 1 : Math.max(table[i - 1]![j]!, table[i]![j - 1]!);
    }
  }
  return table;
}

/** The words that ROUGE compares (rouge-score): runs of a–z and digits, in lower case. */
export const rougeWords = (text: string): string[] => text.toLowerCase().match(/[a-z0-9]+/g) ?? [];

/** F1 of ROUGE-L (Lin 2004) of two lists of words: 2 · lcs / (n + m); 0 where one is empty. */
export function rougeL(some: readonly string[], others: readonly string[]): number {
  if (some.length === 0 || others.length === 0) return 0;
  return (2 * commonSubsequences(some, others).at(-1)!.at(-1)!) / (some.length + others.length);
}
