import { PYTHON_SPACE, splitWords, strip } from '@posttrain/interfaces/python';
import { PUNCTUATION, stripOf, withoutPunctuation } from '../python/text.js';
import type { InstructionArguments, InstructionCheck } from './ifeval-checks.js';
import { isLower, isUpper } from './word-tokens.js';

const MARKS = `${PUNCTUATION} `;
const CLOSING: Readonly<Record<string, string>> = { ')': '(', ']': '[', '}': '{' };
/** Emoji of one character; digits, `#`, `*` and letters of flags alone are none. */
const EMOJI = /^(?![0-9#*]|\p{RI})\p{Emoji}$/u;
const isEmoji = (one: string | undefined): boolean => one !== undefined && EMOJI.test(one);

/** Brackets that are closed in order, five deep; one that does not fit begins anew. */
function isNested(answer: string): boolean {
  let [open, deepest]: [string[], number] = [[], 0];
  for (const one of answer.match(/[([{)\]}]/g) ?? []) {
    if (!(one in CLOSING)) {
      open.push(one);
      deepest = Math.max(deepest, open.length);
    } else if (open.at(-1) === CLOSING[one]) {
      open.pop();
      if (deepest >= 5) return true;
    } else {
      [open, deepest] = [[], 0];
    }
  }
  return false;
}

/** Quotes in quotes in quotes: three levels are closed behind the deepest. */
function nestsQuotes(answer: string): boolean {
  const open: string[] = [];
  let deepest = 0;
  for (const one of answer.match(/["']/g) ?? []) {
    if (open.at(-1) === one) {
      open.pop();
      if (deepest - open.length >= 3) return true;
    } else {
      open.push(one);
      deepest = Math.max(deepest, open.length);
    }
  }
  return false;
}

/** One of the options; letters a), b), c) as they are written. */
function isOption(answer: string, given: InstructionArguments): boolean {
  const text = given.text('options');
  const separator = text.includes('/') ? '/' : text.includes('or') ? 'or' : ',';
  const options = text.split(separator).map(strip);
  if (/^[^\p{L}\p{N}_]*a[^\p{L}\p{N}_]*b[^\p{L}\p{N}_]*c/iu.test(text)) return options.includes(answer);
  const bare = (one: string) => stripOf(one, MARKS).toLowerCase();
  return options.some((option) => bare(option) === bare(answer));
}

/** An emoji is the last character of each sentence or the one before it, or the first of the next sentence. */
function endsInEmoji(answer: string, given: InstructionArguments): boolean {
  const sentences = given.sentences(answer).map((one) => [...strip(withoutPunctuation(one))]);
  return sentences.every((characters, i) => {
    if (characters.length === 0) return false;
    return isEmoji(characters.at(-1)) || isEmoji(characters.at(-2)) || isEmoji(sentences[i + 1]?.[0]);
  });
}

/** Lines that are each further in than the last. */
function isStairs(answer: string): boolean {
  const lines = answer.split('\n');
  // The authors take empty lines out of the list that they walk through, so that the line behind one is passed over.
  for (let i = 0; i < lines.length; i++) if (strip(lines[i]!) === '') lines.splice(lines.indexOf(lines[i]!), 1);
  const depths = lines.map((line) => /^ */.exec(line)![0].length);
  return depths.every((depth, i) => i === 0 || depth > depths[i - 1]!);
}

/** No quotes stand side by side, and none at the end. */
function explainsQuotes(answer: string): boolean {
  const text = splitWords(answer.replaceAll(`'"'`, '')).join('');
  return !text.includes('""') && !stripOf(text, `0123456789${PUNCTUATION.replace('"', '')}`).endsWith('"');
}

/** A text in italics of HTML that is not empty, with text behind it. */
function hasThesis(answer: string): boolean {
  const start = answer.includes('<i>') ? answer.indexOf('<i>') : answer.indexOf('<em>');
  if (start < 0) return false;
  const text = answer.slice(start);
  const end = text.includes('</i>') ? text.indexOf('</i>') : text.indexOf('</em>');
  // The lengths are those of <i> and </i> with <em>, too, as by the authors.
  return end >= 0 && strip(text.slice(3, end)) !== '' && strip(text.slice(end + 4)) !== '';
}

/** At least two sentences, then at least two bullets and nothing else. */
function endsInBullets(answer: string, given: InstructionArguments): boolean {
  let [sentences, bullets, isText] = [0, 0, true];
  for (const line of answer.split('\n').map(strip)) {
    if (line.startsWith('*')) {
      isText = false;
      if (sentences < 2) return false;
      bullets++;
    } else if (isText) {
      // A line without a sentence ends the text.
      const found = given.sentences(line).length;
      sentences += found;
      isText = found > 0;
    } else return false;
  }
  return bullets >= 2;
}

/** No word of letters is small as a whole, or small with capitals behind. */
function isTitleCase(answer: string, given: InstructionArguments): boolean {
  return given.tokens(answer).every((word) => {
    const [first, ...others] = [...word];
    const rest = others.join('');
    if (!/^\p{L}/u.test(word) || !isLower(first!)) return true;
    return rest !== '' && !isLower(rest) && !isUpper(rest);
  });
}

/** The kinds of IFBench (arXiv 2507.02833) about form, as its authors' checkers decide. */
export const ifbenchFormChecks = {
  'format:parentheses': isNested,
  'format:quotes': nestsQuotes,
  'format:options': isOption,
  'format:newline': (answer) => {
    const text = strip(withoutPunctuation(answer));
    return text.split('\n').filter((line) => line !== '').length === splitWords(text).length;
  },
  'format:emoji': endsInEmoji,
  'format:line_indent': isStairs,
  'format:quote_unquote': explainsQuotes,
  'format:list': (answer, given) => answer.split(given.text('sep')).length > 2,
  'format:thesis': hasThesis,
  'format:sub-bullets': (answer) =>
    answer
      .split('*')
      .slice(1)
      .every((bullet) => bullet.includes('-')),
  'format:no_bullets_bullets': endsInBullets,
  'format:title_case': isTitleCase,
  'format:output_template': (answer) =>
    ['My Answer:', 'My Conclusion:', 'Future Outlook:'].every((part) => answer.includes(part)),
  'format:no_whitespace': (answer) => !new RegExp(`[${PYTHON_SPACE}]`).test(answer),
} as const satisfies Readonly<Record<string, InstructionCheck>>;
