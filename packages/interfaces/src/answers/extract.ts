import { type AnswerOptions, assertAnswerOptions, assertAnswerText } from './answer-options.js';
import { lastStated } from './last-stated.js';
import { normalizeAnswer } from './normalize.js';
import { readStatement } from './statement.js';

/** Finds the answer of a completion in a form in which equal answers are equal strings; `null` when there is none. */
export type AnswerExtractor = (text: string) => string | null;

/**
 * The final answer of a completion, spelled by `normalizeAnswer`; `null` when there is none. Everything up to the last
 * `</think>` is left out. Then the first of these that is there, each time its last occurrence:
 *
 * 1. `<answer>…</answer>`;
 * 2. `\boxed{…}`, `\boxed 5`, `\fbox{…}` (lm-evaluation-harness' `last_boxed_only_string`), but for a formula or number that
 *    "the final answer is" says behind it;
 * 3. what follows `####` on its line (GSM8K; not a heading such as `#### Step 1`), or the one word that follows a single
 *    `#` and ends the text (the tasks of `@posttrain/data`);
 * 4. what "the answer is …", "answer: …" and the like say, up to the end of the sentence;
 * 5. a text that is nothing but a formula or a letter, as a whole;
 * 6. the last number or formula of the text (GSM8K's `flexible-extract`, but `2\pi`, `x^2` and `not 7` are not the numbers
 *    2, 2 and 7).
 *
 * A mark that was begun and not closed, an empty one and an unfinished `<think>` are no answer.
 */
export function extractFinalAnswer(text: string, options: AnswerOptions = {}): string | null {
  assertAnswerText('extractFinalAnswer', 'text', text);
  assertAnswerOptions(options);
  const marked = markOf(text);
  const answer = marked
    ? marked.statement
      ? readStatement(marked.text, options)
      : normalizeAnswer(marked.text, options)
    : lastStated(afterThinking(text) ?? '', options);
  return answer === '' ? null : answer;
}

/**
 * What a completion marks as its final answer, as it is written (the first four of `extractFinalAnswer`): empty when the
 * mark was never closed or holds nothing, `null` when there is no mark.
 */
export function markedAnswer(text: string): string | null {
  return markOf(text)?.text ?? null;
}

/**
 * The content of the last `\boxed{…}` or `\fbox{…}`, braces balanced, or of `\boxed 5`; `null` when there is none or the
 * last one is never closed.
 */
export function extractBoxed(text: string): string | null {
  const start = Math.max(text.lastIndexOf('\\boxed'), text.lastIndexOf('\\fbox'));
  if (start < 0) return null;
  const open = /^\\(?:boxed|fbox)\s*/.exec(text.slice(start, start + 40))![0].length + start;
  if (text[open] !== '{') {
    const word = /^[^\s$]+/.exec(text.slice(open, open + 200))?.[0];
    return word?.replace(/[.,;]+$/, '') || null;
  }
  let depth = 0;
  for (let i = open; i < text.length; i++) {
    if (text[i] === '\\') i++;
    else if (text[i] === '{') depth++;
    else if (text[i] === '}' && --depth === 0) return text.slice(open + 1, i);
  }
  return null;
}

/** Between two boxes that are one answer: `\boxed{1} and \boxed{2}`, `\boxed{1} papers and \boxed{2} bins`, `x = \boxed{1} and y = \boxed{2}`. */
const JOINT_WORDS =
  /^(?:\s|\$|\\[()]|\\text\{)*(?:for |of )?(?:(?:the )?part )?(?:\(\p{L}\)|\p{Ll}{2,})?(?:\s|\})*(?:,\s*)?(?:and|or)(?!\p{L})(?:\s|\}|\$|\\[()])*(?:\p{L}(?:_\{?\w\}?)?\s*=\s*)?$/u;
/** Words behind which a result of a working stands, and another behind them. */
const WORKING = /\b(?:so|thus|then|hence|therefore|is|was|not|but|answer|we|it)\b/i;
const JOINT = /^(?:\s|\$|\\[()[\]]|[,;]|\\q?quad(?![a-zA-Z])|\\text\{\s*(?:and|or)\s*\}|(?:and|or)(?!\p{L}))*$/u;
const MOST_BOXES = 50;

/** The last box, and the boxes that only a comma or an "and" parts from it, as a list; empty where the last one is never closed. */
function boxes(text: string): string {
  const last = extractBoxed(text);
  if (last === null) return '';
  const contents = [last.trim()];
  let end = Math.max(text.lastIndexOf('\\boxed'), text.lastIndexOf('\\fbox'));
  while (contents.length < MOST_BOXES) {
    const before = text.slice(Math.max(0, end - LONGEST_SENTENCE), end);
    const start = Math.max(before.lastIndexOf('\\boxed{'), before.lastIndexOf('\\fbox{'));
    const content = start < 0 ? null : extractBoxed(before);
    if (content === null) break;
    const close = before.indexOf('{', start) + content.length + 2;
    const between = before.slice(close);
    if (!JOINT.test(between) && !(JOINT_WORDS.test(between) && !WORKING.test(between))) break;
    contents.unshift(content.trim());
    end = end - before.length + start;
  }
  const close = text.indexOf('{', Math.max(text.lastIndexOf('\\boxed'), text.lastIndexOf('\\fbox'))) + last.length + 2;
  const isPercent = /^\s*\$?\s*(?:\\?%|percent\b|pct\b)/.test(text.slice(close, close + 20));
  return contents.join(', ') + (isPercent && close > 1 ? '%' : '');
}

interface Mark {
  readonly text: string;
  /** A sentence or its end, which may go on behind the answer. */
  readonly statement: boolean;
}

function markOf(completion: string): Mark | null {
  const text = afterThinking(completion);
  if (text === null) return { text: '', statement: false };
  const open = [...text.matchAll(/<answer>/gi)].at(-1);
  if (open) {
    const content = text.slice(open.index + open[0].length);
    const close = content.search(/<\/answer>/i);
    return close < 0 ? { text: '', statement: false } : insideTag(content.slice(0, close).trim());
  }
  if (/\\(?:boxed|fbox)(?![a-zA-Z])/.test(text)) {
    const final = finalAnswer(text.slice(Math.max(text.lastIndexOf('\\boxed'), text.lastIndexOf('\\fbox'))));
    return final === null ? { text: boxes(text), statement: false } : { text: final, statement: false };
  }
  const hashes = afterHashes(text);
  if (hashes !== null) return { text: hashes, statement: true };
  const phrase = afterPhrase(text);
  return phrase === null ? null : { text: phrase, statement: true };
}

/** What Minerva's form (arXiv 2206.14858) says behind boxes of a working: `The final answer is $7$.` */
function finalAnswer(behind: string): string | null {
  const phrases = [...behind.matchAll(/\bthe final answer is:?\s*(\$[^$\n]{1,500}\$|-?\d[\d.,]*)(?=[\s.,;]|$)/gi)];
  return phrases.at(-1)?.[1]?.replace(/[.,]$/, '') ?? null;
}

/** A tag may hold the bare answer or one of the other marks. */
function insideTag(content: string): Mark {
  return markOf(content) ?? { text: content, statement: false };
}

/** The text behind the last closed `<think>`; `null` while the last one is open. */
export function afterThinking(text: string): string | null {
  const close = text.lastIndexOf('</think>');
  if (text.lastIndexOf('<think>') > close) return null;
  return close < 0 ? text : text.slice(close + '</think>'.length);
}

const HEADING =
  /^(?:\*\*)?(?:step|part|case|solution|explanation|problem|question|approach|method|note|summary|conclusion|(?:the )?(?:final )?answer|result|check|verification)\b|^\d+[.)]\s+\S/i;

function afterHashes(text: string): string | null {
  for (const mark of [...text.matchAll(/(?<!#)####(?!#)[ \t]*([^\n]*)/g)].reverse()) {
    const answer = mark[1]!.trim();
    const startsLine = mark.index === 0 || text[mark.index - 1] === '\n';
    if (!(startsLine && HEADING.test(answer))) return answer;
  }
  return /^[^#]*(?<!#)#(\S+)\s*$/.exec(text)?.[1]?.trim() ?? null;
}

const PHRASE =
  /\b(?:answers?|ans|solution|result|option|choice)\b(?:[^.\n:=?!#]{0,40}?\b(?:is|are|was|be|becomes|equals?)\b(?![ \t]+that\b)[ \t]*:?|["']?[ \t]*(?:(?:\*\*|__)[ \t]*)?[:=]|[ \t]*(?:(?:\*\*|__)[ \t]*)?(?=\n))/gi;
/** "I hope the answer is correct" gives none. */
const NO_ANSWER =
  /^(?:correct|right|wrong|incorrect|helpful|clear|useful|below|above|here|shown|given|found|known|unknown|as follows|your|you|my|this question|the (?:following|question))\b/i;

/** "The answer cannot be 7." */
const NEGATED = /\b(?:not|cannot|never)\b|n't\b/i;

function afterPhrase(text: string): string | null {
  for (const found of [...text.matchAll(PHRASE)].reverse()) {
    const named = /^(?:solution|result|option|choice)/i.test(found[0]);
    const startsLine = /(?:^|\n)[ \t#*_>-]*(?:the |final |correct |my |our )*$/i.test(
      text.slice(Math.max(0, found.index - 60), found.index),
    );
    // "the result is 5" in the midst of a working is not the answer; "Result: 5" on its own line may be.
    if (named && !startsLine) continue;
    const onlyHeading = !/[:=]\s*$|\b(?:is|are|was|be|becomes|equals?)[ \t]*$/i.test(found[0]);
    if (onlyHeading && !startsLine) continue;
    const start = found.index + found[0].length;
    const rest = text.slice(start, start + LONGEST_SENTENCE).replace(/^[ \t]*(?:\*\*|__)?[ \t]*:?[ \t]*/, '');
    const answer = sentence(rest);
    if (answer !== '' && !NO_ANSWER.test(answer)) return NEGATED.test(found[0]) ? `not ${answer}` : answer;
  }
  return null;
}

/** So much of a text behind a mark is looked at: a longer sentence is no answer, and each of many marks must not read to the end. */
const LONGEST_SENTENCE = 2000;

/** Up to the end of the sentence or line; from the next line where this one is empty. */
function sentence(rest: string): string {
  const text = rest.trimStart();
  const display = /^(?:\\\[([\s\S]*?)\\\]|\$\$([\s\S]*?)\$\$)/.exec(text);
  if (display) return (display[1] ?? display[2])!.trim();
  const line = text.split('\n', 1)[0]!;
  const end = /[.?!](?:["'*_)$]*)(?=\s|$)/.exec(line);
  return (end ? line.slice(0, end.index) : line).replace(/[*_]+$/, '').trim();
}
