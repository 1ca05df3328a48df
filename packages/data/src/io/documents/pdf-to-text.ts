import { DataOptionError, messageOf } from '../../errors.js';
import { optionalPackage } from '../../optional-package.js';

/** The text of a PDF file. */
export interface PdfText {
  /** All pages, apart by empty lines. */
  readonly text: string;
  readonly pages: readonly string[];
}

/**
 * The text of a PDF file by Mozilla's pdf.js, page by page. A scan has no text: its pages are empty. Needs the package `unpdf`.
 *
 * @throws DataOptionError where it is not installed, or the bytes are no PDF or one with a password
 */
export async function pdfToText(bytes: Uint8Array): Promise<PdfText> {
  const { extractText, getDocumentProxy } = await optionalPackage('pdfToText', 'unpdf', () => import('unpdf'));
  try {
    // It takes the bytes away.
    const document = await getDocumentProxy(Uint8Array.from(bytes), { verbosity: 0 });
    const { text } = await extractText(document, { mergePages: false });
    const pages = text.map((page) => page.trim());
    return { text: pages.join('\n\n').trim(), pages };
  } catch (cause) {
    throw Object.assign(new DataOptionError('pdfToText', `the bytes cannot be read as PDF: ${messageOf(cause)}.`), {
      cause,
    });
  }
}
