/**
 * Rows of `csv.reader` of Python over a text, not strict: quotes matter at the start of a field only, a line without anything is a row without fields,
 * a quoted field may have line ends. `null` where Python raises: text behind a carriage return that ends a row.
 */
export function pythonCsv(text: string, delimiter = ','): string[][] | null {
  const rows: string[][] = [];
  let row: string[] = [];
  let field = '';
  let state: 'record' | 'field' | 'plain' | 'quoted' | 'quote' | 'ended' = 'record';
  const save = (next: typeof state) => {
    row.push(field);
    field = '';
    state = next;
  };
  const close = () => {
    rows.push(row);
    row = [];
    state = 'record';
  };
  const lines = text.split(/(?<=\n)/);
  for (const line of lines.at(-1) === '' ? lines.slice(0, -1) : lines) {
    for (const one of line) {
      const isEnd = one === '\n' || one === '\r';
      if (state === 'ended') {
        if (!isEnd) return null;
      } else if (state === 'quoted') {
        if (one === '"') state = 'quote';
        else field += one;
      } else if (state === 'record' && isEnd) {
        state = 'ended';
      } else if (isEnd) {
        save('ended');
      } else if (one === delimiter) {
        save('field');
      } else if (one === '"' && state === 'quote') {
        field += one;
        state = 'quoted';
      } else if (one === '"' && state !== 'plain') {
        state = 'quoted';
      } else {
        field += one;
        state = 'plain';
      }
    }
    if (state === 'quoted') continue;
    if (state !== 'ended' && state !== 'record') save('record');
    close();
  }
  if (state === 'quoted') {
    save('record');
    close();
  }
  return rows;
}
