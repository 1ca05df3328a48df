/** The pieces of a text between separators outside of brackets; `length` says how long a separator is that begins somewhere, 0 for none. */
export function split(text: string, length: (at: number, text: string) => number): string[] {
  const pieces: string[] = [];
  let [depth, start] = [0, 0];
  for (let i = 0; i < text.length; i++) {
    if ('([{'.includes(text[i]!)) depth++;
    else if (')]}'.includes(text[i]!)) depth--;
    if (depth !== 0) continue;
    const found = length(i, text);
    if (found === 0) continue;
    pieces.push(text.slice(start, i));
    start = i + found;
    i = start - 1;
  }
  pieces.push(text.slice(start));
  return pieces;
}
