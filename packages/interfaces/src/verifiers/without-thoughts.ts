import { afterThinking } from '../answers/index.js';

/** The answer of a completion that thinks first: what stands behind its thoughts, without the tags of an answer; empty where thoughts have no end. */
export const withoutThoughts = (completion: string): string =>
  (afterThinking(completion) ?? '').replaceAll('<answer>', '').replaceAll('</answer>', '').trim();
