import { custom } from '../options/option.js';
import { type Given, options } from '../options/options.js';
import type { HasSettings } from '../settings.js';
import type { Verifier } from '../verify.js';
import { ruleVerifier } from './rule-verifier.js';

const isTags = (value: unknown): boolean =>
  Array.isArray(value) &&
  value.length > 0 &&
  value.every((tag) => typeof tag === 'string' && /^[\w-]+$/.test(tag)) &&
  new Set(value).size === value.length;

const formatTagsOptions = options('formatTags', {
  /** Tags that must follow each other. Default `['think', 'answer']`. */
  tags: custom<readonly string[]>()('a list of different names', isTags, { default: ['think', 'answer'] }),
});
/** Options of `formatTags`. */
export type FormatTagsOptions = Given<typeof formatTagsOptions>;

/**
 * The format reward of DeepSeek-R1 (arXiv 2501.12948): 1 when the completion is exactly `<think>…</think>` and then
 * `<answer>…</answer>`, each tag once, none empty, nothing but white space around and between; else 0.
 *
 * The format reward of open-r1 (its reproduction) asks for a line break on both sides of what is between tags, and takes what this does not: text on a line
 * behind the last tag, tags inside of others or twice, nothing but white space between them.
 *
 * @throws OptionError
 */
export function formatTags(given: FormatTagsOptions = {}): Verifier & HasSettings {
  const { tags } = formatTagsOptions.read(given);
  return ruleVerifier('formatTags', { tags: JSON.stringify(tags) }, ({ completion }) => {
    let rest = completion.trim();
    for (const tag of tags) {
      const [open, close] = [`<${tag}>`, `</${tag}>`];
      const end = rest.indexOf(close);
      if (!rest.startsWith(open) || end < 0) return 0;
      const content = rest.slice(open.length, end);
      if (content.trim() === '' || tags.some((t) => content.includes(`<${t}>`) || content.includes(`</${t}>`)))
        return 0;
      rest = rest.slice(end + close.length).trimStart();
    }
    return rest === '' ? 1 : 0;
  });
}
