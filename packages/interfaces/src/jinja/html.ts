/** HTML and URLs, for the filters `escape`, `striptags`, `urlencode`, `xmlattr` and text marked as safe. */
import { unsupported } from './errors.js';
import { splitAtSpace } from './text.js';

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  "'": '&#39;',
  '"': '&#34;',
};

export const escapeHtml = (text: string): string => text.replace(/[&<>'"]/g, (character) => ENTITIES[character]!);

const NAMED: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: '\xa0' };

/** `html.unescape`, of the entities that everybody knows. */
function unescapeHtml(text: string): string {
  return text.replace(/&(#[0-9]+|#[xX][0-9a-fA-F]+|[A-Za-z][A-Za-z0-9]*)(;?)/g, (entity, name: string, end: string) => {
    const known = name.startsWith('#') ? undefined : NAMED[name];
    if (known !== undefined && end === ';') return known;
    if (name.startsWith('#')) {
      const code = /^#x/i.test(name) ? Number.parseInt(name.slice(2), 16) : Number.parseInt(name.slice(1), 10);
      // The rest is replaced by the rules of HTML 5 for bad references.
      const plain = (code >= 0x20 && code < 0x7f) || code === 0xa || (code >= 0xa0 && code < 0xd800);
      if (plain && end === ';') return String.fromCodePoint(code);
    }
    return unsupported(`striptags: the entity "${entity}".`);
  });
}

/** Without tags and comments, white space as single spaces, entities as characters. */
export function stripTags(text: string): string {
  let rest = text;
  let kept = '';
  for (let start = rest.indexOf('<'); start >= 0; start = rest.indexOf('<')) {
    const end = rest.startsWith('<!--', start) ? rest.indexOf('-->', start + 4) + 2 : rest.indexOf('>', start);
    if (end < start) break;
    kept += rest.slice(0, start);
    rest = rest.slice(end + 1);
  }
  return unescapeHtml(splitAtSpace(kept + rest, -1, false).join(' '));
}

/** Percent-encodes UTF-8 as Python's `urllib.parse.quote`; for a query, `/` too, and spaces as `+`. */
export function quoteUrl(text: string, query: boolean): string {
  if (/\p{Surrogate}/u.test(text)) unsupported('urlencode of a lone surrogate.');
  const quoted = encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
  return query ? quoted.replaceAll('%20', '+') : quoted.replaceAll('%2F', '/');
}
