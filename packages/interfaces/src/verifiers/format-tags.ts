import { assertKnownOptions, PosttrainError } from '../errors.js';
import type { HasSettings } from '../settings.js';
import type { Verifier } from '../verify.js';
import { ruleVerifier } from './rule-verifier.js';

/** Options of `formatTags`. */
export interface FormatTagsOptions {
  /** Tags that must follow each other. Default `['think', 'answer']`. */
  readonly tags?: readonly string[];
}

/**
 * The format reward of DeepSeek-R1 (arXiv 2501.12948): 1 when the completion is exactly `<think>…</think>` and then
 * `<answer>…</answer>`, each tag once, none empty, nothing but white space around and between; else 0.
 */
export function formatTags(options: FormatTagsOptions = {}): Verifier & HasSettings {
  assertKnownOptions('formatTags', options, ['tags']);
  const { tags = ['think', 'answer'] } = options;
  const odd = tags.filter((tag) => !/^[\w-]+$/.test(tag));
  if (tags.length === 0 || odd.length > 0 || new Set(tags).size < tags.length) {
    throw new PosttrainError('FORMAT_TAGS', `formatTags: tags must be different names, not ${JSON.stringify(tags)}`);
  }
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
