import { boolean, type Given, listOf, oneOf, options, text } from '@posttrain/interfaces';
import type { Row } from '../rows.js';
import type { DataStep } from '../step.js';
import { columnOption, textEditor } from './text-filter.js';

/** What `scrubPii` finds. */
export type PiiKind = 'email' | 'ip' | 'phone' | 'credit-card';

const scrubPiiOptions = options('scrubPii', {
  /** Column of the text. Default `"text"`. */
  text: columnOption,
  /** What is replaced. Default e-mail and IP addresses, as datatrove does. */
  kinds: listOf(oneOf<PiiKind, object>(['email', 'ip', 'phone', 'credit-card'], {}), { default: ['email', 'ip'] }),
  /** Replaces no IP addresses of private and reserved ranges. Default `true`. */
  onlyPublicIps: boolean({ default: true }),
  /** What e-mail addresses become, in turn. Default `email@example.com`, `firstname.lastname@example.org`. */
  emailReplacements: listOf(text({}), { default: ['email@example.com', 'firstname.lastname@example.org'] }),
  /** What IP addresses become, in turn. Default datatrove's six. */
  ipReplacements: listOf(text({}), {
    default: ['22.214.171.124', '126.96.36.199', '188.8.131.52', '184.108.40.206', '220.127.116.11', '18.104.22.168'],
  }),
  /** What telephone numbers become. Default `[PHONE]`. */
  phoneReplacement: text({ default: '[PHONE]' }),
  /** What numbers of credit cards become. Default `[CREDIT_CARD]`. */
  creditCardReplacement: text({ default: '[CREDIT_CARD]' }),
});
/** Options of `scrubPii`. */
export type ScrubPiiOptions = Given<typeof scrubPiiOptions>;

/** What an address may have before the `@`: runs of these, apart by single full stops, from the first that begins a word. */
const LOCAL = /[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]/;
const WORD_START = /(?<![\p{L}\p{N}_])[A-Za-z0-9_]/gu;
const OCTET = '(?:25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)';
const IP = `(?:${OCTET}\\.){3}${OCTET}`;
const LABEL = '[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?';
const DOMAIN = new RegExp(`(?:${LABEL}\\.)+${LABEL}|\\[${IP}\\]`, 'uy');
const PHONE =
  /(?<![\p{L}\p{N}.]|\d[ -])(?:\+\d{1,3}[ .-]?)?(?:\(\d{2,4}\)[ .-]?|\d{2,4}[ .-])\d{3,4}[ .-]?\d{3,4}(?![\p{L}\p{N}]|[ .-]\d)/gu;
const CARD = /(?<![\p{L}\p{N}])\d(?:[ -]?\d){12,18}(?![\p{L}\p{N}])/gu;

/**
 * Replaces what tells people by: e-mail and IPv4 addresses as datatrove's PII formatter does (FineWeb, arXiv 2406.17557 §3.7), and, where asked for, telephone
 * numbers and numbers of credit cards (13 to 19 digits whose Luhn sum is right). Replacements come in turn, from the first again in every
 * row, so that a row's text does not depend on those before it.
 *
 * Rules find what has a form; names and addresses of streets they do not find.
 *
 * @throws OptionError; RowError where the text is none
 */
export function scrubPii<R extends object = Row>(given: ScrubPiiOptions = {}): DataStep<R> {
  const settings = scrubPiiOptions.read(given);
  const kinds = new Set(settings.kinds);
  const version = JSON.stringify(scrubPiiOptions.settings(given));
  return textEditor('scrub pii', version, settings.text, (text) => {
    let scrubbed = text;
    if (kinds.has('email')) scrubbed = withoutEmails(scrubbed, settings.emailReplacements);
    if (kinds.has('credit-card')) scrubbed = inTurn(scrubbed, CARD, [settings.creditCardReplacement], isCard);
    if (kinds.has('ip')) {
      scrubbed = inTurn(scrubbed, new RegExp(IP, 'gu'), settings.ipReplacements, (ip) =>
        isAddress(ip, settings.onlyPublicIps),
      );
    }
    if (kinds.has('phone')) scrubbed = inTurn(scrubbed, PHONE, [settings.phoneReplacement]);
    return scrubbed === text ? true : { text: scrubbed };
  });
}

/** From each `@` to its left, as a pattern would begin anew at every word of a long run (base64) and read to its end. */
function withoutEmails(text: string, replacements: readonly string[]): string {
  let [result, end, next] = ['', 0, 0];
  for (let at = text.indexOf('@'); at >= 0; at = text.indexOf('@', Math.max(at + 1, end))) {
    let start = at;
    while (start > end && LOCAL.test(text[start - 1]!)) start--;
    const local = text.slice(start, at);
    if (local === '' || local.endsWith('.')) continue;
    const gap = local.lastIndexOf('..');
    const from = gap < 0 ? start : start + gap + 2;
    // With the character before, which may be two units.
    const context = Math.max(0, from - 2);
    WORD_START.lastIndex = from - context;
    const first = WORD_START.exec(text.slice(context, at));
    DOMAIN.lastIndex = at + 1;
    if (first === null || !DOMAIN.test(text)) continue;
    result += text.slice(end, context + first.index) + replacements[next++ % replacements.length]!;
    end = DOMAIN.lastIndex;
  }
  return result + text.slice(end);
}

function inTurn(
  text: string,
  pattern: RegExp,
  replacements: readonly string[],
  isOne: (found: string) => boolean = () => true,
): string {
  let next = 0;
  return text.replace(pattern, (found) => (isOne(found) ? replacements[next++ % replacements.length]! : found));
}

/** Blocks that are not of the public internet: [first address, bits]. */
const RESERVED: readonly (readonly [number, number])[] = (
  '0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 192.168.0.0/16 198.18.0.0/15 ' +
  '198.51.100.0/24 203.0.113.0/24 240.0.0.0/4'
)
  .split(' ')
  .map((block) => [numberOf(block.split('/')[0]!), Number(block.split('/')[1])] as const);
/** Two addresses of 192.0.0.0/24 that are public. */
const PUBLIC = new Set([numberOf('192.0.0.9'), numberOf('192.0.0.10')]);

function numberOf(ip: string): number {
  return ip.split('.').reduce((sum, octet) => sum * 256 + Number(octet), 0);
}

/** Octets with a leading zero are no address, as for Python's `ipaddress`. */
function isAddress(ip: string, publicOnly: boolean): boolean {
  if (/(?:^|\.)0\d/u.test(ip)) return false;
  const value = numberOf(ip);
  if (!publicOnly || PUBLIC.has(value)) return true;
  return !RESERVED.some(
    ([first, bits]) => Math.floor(value / 2 ** (32 - bits)) === Math.floor(first / 2 ** (32 - bits)),
  );
}

/** Luhn's sum of the digits (ISO/IEC 7812-1): every second one from the right twice, its digits added. */
function isCard(found: string): boolean {
  const digits = [...found.replace(/\D/gu, '')].map(Number).toReversed();
  const sum = digits.reduce(
    (total, digit, i) => total + (i % 2 === 0 ? digit : digit > 4 ? 2 * digit - 9 : 2 * digit),
    0,
  );
  return sum % 10 === 0;
}
