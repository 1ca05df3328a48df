import { lengthOf } from '@posttrain/interfaces/python';

/** How many of the parts were there before, and how many characters those have. */
export function countDuplicates(parts: readonly string[]): { readonly parts: number; readonly characters: number } {
  const seen = new Set<string>();
  let [count, characters] = [0, 0];
  for (const part of parts) {
    if (!seen.has(part)) seen.add(part);
    else {
      count++;
      characters += lengthOf(part);
    }
  }
  return { parts: count, characters };
}
