import { boolean, type Given, options } from '@posttrain/interfaces';
import { DataOptionError } from '../../errors.js';
import { optionalPackage } from '../../optional-package.js';

const htmlToTextOptions = options('htmlToText', {
  /** Only the main article (Readability); false: all that a reader sees. Default true. */
  article: boolean({ default: true }),
});
/** Options of `htmlToText`. */
export type HtmlToTextOptions = Given<typeof htmlToTextOptions>;

/** What a page says. */
export interface PageText {
  readonly title: string;
  /** Paragraphs, apart by empty lines. */
  readonly text: string;
}

/** Elements that begin on a line of their own. */
const BLOCK = new Set(
  'ADDRESS ARTICLE ASIDE BLOCKQUOTE BODY CAPTION DD DETAILS DIV DL DT FIELDSET FIGCAPTION FIGURE FOOTER FORM H1 H2 H3 H4 H5 H6 HEADER HR LI MAIN NAV OL P PRE SECTION SUMMARY TABLE TBODY TFOOT THEAD TR UL'.split(
    ' ',
  ),
);
/** Elements whose text nobody sees. */
const HIDDEN = new Set('SCRIPT STYLE NOSCRIPT TEMPLATE HEAD IFRAME SVG CANVAS OBJECT'.split(' '));

/** Most elements within one another, as browsers have it; what finds articles takes minutes for thousands. */
const MOST_DEEP = 512;

/** What is read of a node of the page. */
interface PageNode {
  readonly nodeType: number;
  readonly nodeName: string;
  readonly textContent: string | null;
  readonly childNodes: ArrayLike<PageNode>;
}

/**
 * The text of an HTML page: of its main article, as Mozilla's Readability (Firefox's reader view) finds it, or of the whole page. White space is that of a page
 * as it is seen, `pre` keeps its own; a page without an article gives the whole. Needs the packages `linkedom` and `@mozilla/readability`.
 *
 * @throws OptionError; DataOptionError where they are not installed, and for a page of more than 512 elements within one another
 */
export async function htmlToText(html: string, given: HtmlToTextOptions = {}): Promise<PageText> {
  const { article } = htmlToTextOptions.read(given);
  const { linkedom, readability } = await optionalPackage('htmlToText', 'linkedom @mozilla/readability', async () => ({
    linkedom: await import('linkedom'),
    readability: await import('@mozilla/readability'),
  }));
  // Both tags may be left out.
  const body = /<body[\s>]/i.test(html) ? html : `<body>${html}</body>`;
  const whole = body === html && /<html[\s>]/i.test(html) ? html : `<html>${body}</html>`;
  const parse = () => linkedom.parseHTML(whole).document;
  const document = parse();
  assertNotTooDeep(document.documentElement as unknown as PageNode);
  // A page without the tag of its body has its title somewhere else.
  const named = document.title || document.querySelector('head > title, html > title, body > title')?.textContent;
  const title = (named ?? '').replaceAll(/\s+/g, ' ').trim();
  // Readability changes the page that it is given.
  const found = article ? new readability.Readability(parse() as never).parse() : null;
  if (!found?.content) {
    // The parser makes an empty body of its own where no head is written.
    const own = document.querySelector('body') ?? document.body;
    return { title, text: textOf(own as unknown as PageNode) };
  }
  const { document: part } = linkedom.parseHTML(`<html><body>${found.content}</body></html>`);
  return { title: title || (found.title ?? ''), text: textOf(part.body as unknown as PageNode) };
}

/** Level by level, since what goes down by calls has an end of its own. */
function assertNotTooDeep(root: PageNode): void {
  let level: readonly PageNode[] = [root];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > MOST_DEEP) {
      throw new DataOptionError('htmlToText', `the page has more than ${MOST_DEEP} elements within one another.`);
    }
    level = level.flatMap((node) => Array.from(node.childNodes).filter(({ nodeType }) => nodeType === 1));
  }
}

function textOf(root: PageNode): string {
  const lines: string[] = [''];
  const add = (text: string): void => {
    const line = lines.at(-1)!;
    lines[lines.length - 1] = line + (line === '' || line.endsWith(' ') ? text.replace(/^ /, '') : text);
  };
  const visit = (node: PageNode, pre: boolean): void => {
    if (node.nodeType === 3) {
      const text = node.textContent ?? '';
      if (!pre) add(text.replaceAll(/[ \t\r\n\f]+/g, ' '));
      else
        for (const [i, line] of text.split('\n').entries())
          lines[i === 0 ? lines.length - 1 : lines.length] = i === 0 ? lines.at(-1)! + line : line;
    }
    const name = node.nodeName.toUpperCase();
    if (node.nodeType !== 1 || HIDDEN.has(name)) return;
    if (name === 'BR') lines.push('');
    const block = BLOCK.has(name);
    const paragraph = block && name !== 'LI' && name !== 'TR';
    if (block) lines.push(...(paragraph ? ['', ''] : ['']));
    if (name === 'TD' || name === 'TH') add(' ');
    for (const child of Array.from(node.childNodes)) visit(child, pre || name === 'PRE');
    if (block) lines.push(...(paragraph ? ['', ''] : ['']));
  };
  visit(root, false);
  return lines
    .map((line) => line.trimEnd())
    .join('\n')
    .replaceAll(/\n{3,}/g, '\n\n')
    .replaceAll(/^\n+|\n+$/g, '');
}
