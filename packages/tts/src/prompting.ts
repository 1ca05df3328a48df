import { custom, type Option, type Prompt } from '@posttrain/interfaces';
import type { Search } from './search.js';
import type { SearchNode } from './search-node.js';

const isFunction = (value: unknown): boolean => typeof value === 'function';

/** A function that makes the text of a prompt; `words` says what it makes it of. */
export const promptOption = <F extends (...parts: never[]) => string>(
  words: string,
  fallback: F,
): Option<F, 'default'> =>
  custom<F>()(`a function that makes a prompt of ${words}`, isFunction, { default: fallback as F });

/** A function that reads what a model wrote. */
export const parseOption = <F extends (...parts: never[]) => unknown>(
  words: string,
  fallback: F,
): Option<F, 'default'> => custom<F>()(`a function that reads ${words}`, isFunction, { default: fallback as F });

/** The question of a prompt: the text itself, or what the user said last. */
export function questionOf(prompt: Prompt): string {
  if (typeof prompt === 'string') return prompt;
  return (prompt.findLast(({ role }) => role === 'user') ?? prompt.at(-1))?.content ?? '';
}

/** The prompt with another question in the place of its own; the rest of a conversation stays. */
export function withQuestion(prompt: Prompt, question: string): Prompt {
  if (typeof prompt === 'string') return question;
  const at = prompt.findLastIndex(({ role }) => role === 'user');
  if (at < 0) return [...prompt, { role: 'user', content: question }];
  return prompt.map((message, i) => (i === at ? { ...message, content: question } : message));
}

/** Texts under numbers from 1, as a model is asked to choose among them. */
export const numbered = (label: string, texts: readonly string[]): string =>
  texts.map((text, i) => `${label} ${i + 1}:\n${text}`).join('\n\n');

/** Which of `count` texts was named last by its number, from 0; `null`: none. */
export function lastNumber(text: string, count: number): number | null {
  const named = [...text.matchAll(/\d+/g)].map(([digits]) => Number(digits)).filter((it) => it >= 1 && it <= count);
  return named.length === 0 ? null : named.at(-1)! - 1;
}

/** Lines that say something, without the marks and numbers of a list. */
export const listedLines = (text: string): string[] =>
  text
    .split('\n')
    .map((line) => line.replace(/^\s*(?:[-*•]|\(?\d+[.):])\s*/, '').trim())
    .filter((line) => line !== '');

/** One text that was asked for by a prompt; `undefined` when the budget or the wall time says no. */
export async function askFor(
  search: Search,
  from: SearchNode,
  prompt: Prompt,
  what: string,
  role?: string,
): Promise<SearchNode | undefined> {
  const [node] = await search.expand(from, { n: 1, prompt, ...(role !== undefined && { role }) });
  if (node) node.node.reason = what;
  return node;
}
