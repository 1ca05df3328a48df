import { readFile } from 'node:fs/promises';
import { DataFileError, messageOf } from '../../errors.js';
import type { Row } from '../../rows.js';
import { htmlToText } from './html-to-text.js';
import { pdfToText } from './pdf-to-text.js';

/** One row of a document: `{ path, title, text }` of an HTML page, `{ path, text, pages }` of a PDF file. */
export async function* readDocument(path: string): AsyncGenerator<Row> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (cause) {
    throw new DataFileError({ path }, `cannot be read: ${messageOf(cause)}`, { cause });
  }
  if (/\.pdf$/i.test(path)) {
    const { text, pages } = await pdfToText(bytes).catch((cause: unknown) => {
      throw new DataFileError({ path }, messageOf(cause), { cause });
    });
    yield { path, text, pages };
    return;
  }
  let html: string;
  try {
    html = new TextDecoder(charsetOf(bytes), { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new DataFileError({ path }, `is no text of its encoding: ${messageOf(cause)}`, { cause });
  }
  const page = await htmlToText(html).catch((cause: unknown) => {
    throw new DataFileError({ path }, messageOf(cause), { cause });
  });
  yield { path, ...page };
}

/** The encoding that a page says it has; UTF-8 where it says none. */
const charsetOf = (bytes: Buffer): string =>
  /<meta[^>]+charset\s*=\s*["']?([\w-]+)/i.exec(bytes.subarray(0, 1024).toString('latin1'))?.[1] ?? 'utf-8';
