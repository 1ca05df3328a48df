import { type Given, integer, listOf, options, showValue, text } from '@posttrain/interfaces';
import { parse } from 'tldts';
import { DataOptionError } from '../errors.js';
import type { Row } from '../rows.js';
import type { DataStep } from '../step.js';
import { textFilter } from './text-filter.js';

const list = listOf(text({}), { default: [] });

const urlFilterOptions = options('urlFilter', {
  /** Column of the address. Default `"url"`. */
  url: text({ default: 'url' }),
  /** Registered domains (`example.co.uk`) and hosts (`blog.example.com`) whose pages are dropped. */
  domains: list,
  /** Whole addresses that are dropped. */
  urls: list,
  /** Words of which none may stand in the address, between characters that are no letters or digits of ASCII. */
  bannedWords: list,
  /** Words of which few may stand there. */
  softBannedWords: list,
  /** How many of those are too many. Default 2. */
  softWordThreshold: integer({ default: 2, min: 1 }),
  /** What may stand nowhere in the address, whose other characters than letters and digits are left out first, in lower case. */
  bannedSubwords: list,
});
/** Options of `urlFilter`. */
export type UrlFilterOptions = Given<typeof urlFilterOptions>;

/**
 * Drops pages by their address, with datatrove's options, order and reasons (RefinedWeb, arXiv 2306.01116 §3.1). Lists are the user's: none comes with this
 * package. What a registered domain is says the public suffix list (`tldts`).
 *
 * @throws OptionError; DataOptionError for a word without letters and digits; RowError where the address is no text
 */
export function urlFilter<R extends object = Row>(given: UrlFilterOptions): DataStep<R> & { readonly passes: true } {
  const settings = urlFilterOptions.read(given);
  const domains = new Set(settings.domains);
  const urls = new Set(settings.urls);
  const [banned, soft, parts] = (['bannedWords', 'softBannedWords', 'bannedSubwords'] as const).map((option) =>
    settings[option].map((word) => {
      const bare = plain(word);
      if (bare !== '') return bare;
      // It would stand in every address.
      throw new DataOptionError('urlFilter', `"${option}" has ${showValue(word)}, without a letter or digit of ASCII.`);
    }),
  );
  const version = JSON.stringify(urlFilterOptions.settings(given));
  return textFilter('url filter', version, settings.url, (url) => {
    const { domain, hostname } = parse(url);
    if (domain !== null && domains.has(domain)) return { drop: 'domain' };
    if (hostname !== null && domains.has(hostname)) return { drop: 'subdomain' };
    if (urls.has(url)) return { drop: 'url' };
    const words = new Set(url.split(/[^a-zA-Z0-9]+/u));
    if (banned!.some((word) => words.has(word))) return { drop: 'hard_blacklisted' };
    if (soft!.filter((word) => words.has(word)).length >= settings.softWordThreshold)
      return { drop: 'soft_blacklisted' };
    const whole = plain(url);
    return parts!.some((part) => whole.includes(part)) ? { drop: 'blacklisted_subword' } : true;
  });
}

const plain = (value: string) => value.replace(/[^a-zA-Z0-9]+/gu, '').toLowerCase();
