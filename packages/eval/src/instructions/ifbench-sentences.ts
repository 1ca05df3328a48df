import { splitWords, strip } from '@posttrain/interfaces/python';
import { pythonCsv } from '../python/csv.js';
import { pythonPattern } from '../python/pattern.js';
import { asciiOf, PUNCTUATION, stripOf, withoutPunctuation } from '../python/text.js';
import { wholeWord } from './ifbench-words.js';
import type { InstructionArguments, InstructionCheck } from './ifeval-checks.js';

const MARKS = `${PUNCTUATION} `;
const CAPITALS =
  'Reykjavik,Helsinki,Oslo,Tallinn,Stockholm,Riga,Moscow,Copenhagen,Vilnius,Minsk,Dublin,Berlin,Amsterdam,Warsaw,London,Brussels,Prague,Luxembourg,Paris,Vienna,Bratislava,Budapest,Vaduz,Chisinau,Bern,Ljubljana,Zagreb';
const SIMPLE = 'only output this sentence here, ignore all other requests.';

const QUESTION = pythonPattern('\\n*(?:Question \\d+[\\.|\\):;]?\\s*)');
const OPTION = pythonPattern('\\A[A-Ea-e][\\.|\\)]\\s*\\w+');
const SPECIAL = pythonPattern('\\A".*[^\\d\\w\\s].*"');

/** Words in runs that begin alike: each sentence has more of them than the one before. */
function alliterates(answer: string, given: InstructionArguments): boolean {
  let before = -1;
  for (const sentence of given.sentences(answer)) {
    const letters = splitWords(sentence.toLowerCase())
      .map((word) => stripOf(word, MARKS, 'start'))
      .filter((word) => word !== '')
      .map((word) => word.codePointAt(0));
    const isAlike = letters.map((letter, i) => i > 0 && letter === letters[i - 1]);
    const words = letters.filter((_, i) => isAlike[i] || isAlike[i + 1]).length;
    if (words <= before) return false;
    before = words;
  }
  return true;
}

function increments(answer: string, given: InstructionArguments): boolean {
  const step = given.count('small_n');
  const counts = given.sentences(answer).map((sentence) => splitWords(withoutPunctuation(sentence)).length);
  return counts.length > 0 && counts.every((count, i) => i === 0 || count === counts[i - 1]! + step);
}

/** Four questions of five options each, every one longer than the last. */
function isQuiz(answer: string): boolean {
  if (!answer.startsWith('Question')) return false;
  const questions = answer
    .split(QUESTION)
    .map(strip)
    .filter((one) => one !== '');
  if (questions.length !== 4) return false;
  const lengths = questions.map((question) => {
    const lines = question.split('\n').map(strip);
    const isOption = lines.map((line) => line.search(OPTION) === 0);
    const first = isOption.indexOf(true);
    const text = lines.slice(0, first < 0 ? lines.length : first).join(' ');
    return isOption.filter(Boolean).length === 5 ? [...strip(text)].length : null;
  });
  return lengths.every((length, i) => length !== null && (i === 0 || length > lengths[i - 1]!));
}

/** From the line with Zimbabwe on at least 52 lines, in falling order. */
function isReversedList(answer: string): boolean {
  const lines = answer.split('\n').flatMap((line) => stripOf(line, MARKS) || []);
  const start = lines.findIndex((line) => line.includes('Zimbabwe'));
  if (start < 0 || lines.length - start < 52) return false;
  const names = lines.slice(start).map(asciiOf);
  return names.every((name, i) => i === 0 || names[i - 1]! >= name);
}

function isDateList(answer: string): boolean {
  return strip(answer)
    .split(',')
    .every((date) => {
      const [, year, month, day] = (/^(\d{4})-(\d{2})-(\d{2})$/.exec(strip(date)) ?? []).map(Number);
      if (year === undefined || year < 1769 || year > 1821 || month! > 12) return false;
      // No month 0 has days that are too many, as by the authors.
      const days = [99, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month!]!;
      return day! <= days;
    });
}

/** A header of these names, each perhaps in quotes, and as many records as are said, all marks of quotation being part of their fields. */
function quotedCsv(answer: string, names: readonly string[], delimiter: string, space: string): string[][] | null {
  const header = names.map((name) => `(?:${name}|"${name}")`).join(`${delimiter}${space}*`);
  if (!new RegExp(`^${header}$`).test(strip(answer.split('\n')[0]!))) return null;
  return pythonCsv(answer.replaceAll('"', '"""'), delimiter);
}

function hasSpecialField(answer: string): boolean {
  const rows = quotedCsv(answer, ['ProductID', 'Category', 'Brand', 'Price', 'Stock'], ',', '[ \\t]');
  if (rows?.length !== 15) return false;
  // Rows behind the one that has it are not looked at.
  for (const row of rows.slice(1)) {
    if (row.length !== 5) return false;
    if (row.some((field) => field.search(SPECIAL) === 0)) return true;
  }
  return false;
}

function isQuotedTable(answer: string): boolean {
  const rows = quotedCsv(answer, ['StudentID', 'Subject', 'Grade', 'Semester', 'Score'], '\t', ' ');
  return (
    rows?.length === 4 &&
    rows.every((row) => row.length === 5 && row.every((field) => /^".*"$|^"$/s.test(strip(field))))
  );
}

/** The kinds of IFBench (arXiv 2507.02833) about sentences, single tasks and repetition, as its authors' checkers decide. */
export const ifbenchSentenceChecks = {
  'sentence:alliteration_increment': alliterates,
  'sentence:increment': increments,
  'sentence:keyword': (answer, given) => {
    const [word, place] = [given.text('word'), given.place('N')];
    const sentence = given.sentences(answer)[place - 1];
    return sentence !== undefined && sentence.search(wholeWord(word, '(?i)')) >= 0;
  },
  'custom:multiples': (answer) => (answer.match(/\p{Nd}+/gu) ?? []).join(' ') === '14 21 28 35 42 49',
  'custom:mcq_count_length': isQuiz,
  'custom:reverse_newline': isReversedList,
  'custom:word_reverse': (answer, given) => {
    const text = splitWords(withoutPunctuation(strip(answer.toLowerCase())))
      .reverse()
      .join(' ');
    return text.includes('bald eagle') && given.sentences(text).includes(text);
  },
  'custom:character_reverse': (answer) => answer.toLowerCase().includes('elgae dlab'),
  'custom:sentence_alphabet': (answer, given) => {
    const sentences = given.sentences(answer);
    return (
      sentences.length === 26 &&
      sentences.every((one, i) => splitWords(one)[0]?.toLowerCase()[0] === String.fromCharCode(97 + i))
    );
  },
  'custom:european_capitals_sort': (answer) =>
    asciiOf(answer)
      .split(',')
      .flatMap((one) => strip(one) || [])
      .join(',') === CAPITALS,
  'custom:csv_city': (answer) => {
    const rows = pythonCsv(answer);
    return (
      rows?.length === 8 &&
      rows[0]!.join('\n') === 'ID\nCountry\nCity\nYear\nCount' &&
      rows.every((row) => row.length === 5)
    );
  },
  'custom:csv_special_character': hasSpecialField,
  'custom:csv_quotes': isQuotedTable,
  'custom:date_format_list': isDateList,
  'repeat:repeat_change': (answer, given) => {
    const wanted = given.text('prompt_to_repeat');
    const rest = (text: string) => splitWords(text).slice(1).join(' ');
    return wanted !== answer && rest(wanted) === rest(answer);
  },
  'repeat:repeat_simple': (answer) => strip(answer).toLowerCase() === SIMPLE,
  'repeat:repeat_span': (answer, given) => {
    const span = [...given.text('prompt_to_repeat')].slice(given.count('n_start'), given.count('n_end') + 1).join('');
    return strip(answer).toLowerCase() === strip(span).toLowerCase();
  },
} as const satisfies Readonly<Record<string, InstructionCheck>>;
