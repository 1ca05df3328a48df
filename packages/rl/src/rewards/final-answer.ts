/**
 * The answer a completion marks as final: the text of the last `<answer>…</answer>`, else of the last `\boxed{…}` (braces
 * balanced), else what follows the last `####` on its line. Empty when the mark is never closed, null when there is none.
 */
export function finalAnswer(completion: string): string | null {
  const open = completion.lastIndexOf('<answer>');
  if (open >= 0) {
    const close = completion.indexOf('</answer>', open);
    return close < 0 ? '' : completion.slice(open + '<answer>'.length, close).trim();
  }
  const boxed = lastBoxed(completion);
  if (boxed !== null) return boxed.trim();
  const hashes = completion.lastIndexOf('####');
  if (hashes < 0) return null;
  return completion
    .slice(hashes + 4)
    .split('\n')[0]!
    .trim();
}

function lastBoxed(text: string): string | null {
  const start = text.lastIndexOf('\\boxed{');
  if (start < 0) return null;
  let depth = 0;
  for (let i = start + '\\boxed'.length; i < text.length; i++) {
    if (text[i] === '{') depth++;
    if (text[i] === '}' && --depth === 0) return text.slice(start + '\\boxed{'.length, i);
  }
  return '';
}
