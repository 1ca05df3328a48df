import { nearestName } from '../errors.js';
import { oneOf, text } from '../options/option.js';
import { showValue } from '../options/option-error.js';
import { type Given, options } from '../options/options.js';
import type { HasSettings } from '../settings.js';
import type { Verifier, VerifyRequest } from '../verify.js';
import { VerifierInputError } from './errors.js';
import { columnOf } from './reference.js';
import { ruleVerifier } from './rule-verifier.js';
import { withoutThoughts } from './without-thoughts.js';

type Arguments = Readonly<Record<string, unknown>>;
/** Whether an answer follows an instruction. */
type Check = (answer: string, given: Reader) => boolean;

/** Arguments of an instruction, as its row has them. */
class Reader {
  readonly #id: string;
  readonly #given: Arguments;

  constructor(id: string, given: Arguments) {
    this.#id = id;
    this.#given = given;
  }

  text(name: string): string {
    const value = this.#given[name];
    if (typeof value === 'string' && value.trim() !== '') return value.trim();
    throw this.#wrong(name, value, 'a text');
  }

  count(name: string): number {
    const value = this.#given[name];
    if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number;
    throw this.#wrong(name, value, 'a whole number of at least 0');
  }

  words(name: string): readonly string[] {
    const value = this.#given[name];
    if (Array.isArray(value) && value.length > 0 && value.every((word) => typeof word === 'string' && word !== ''))
      return value;
    throw this.#wrong(name, value, 'a list of words');
  }

  /** `less than` or `at least` so many. */
  compare(found: number, relation: string, wanted: string): boolean {
    const value = this.#given[relation];
    if (value === 'less than') return found < this.count(wanted);
    if (value === 'at least') return found >= this.count(wanted);
    throw this.#wrong(relation, value, '"less than" or "at least"');
  }

  #wrong(name: string, value: unknown, expects: string): VerifierInputError {
    return new VerifierInputError(
      `instructionConstraints: ${name} of ${this.#id} is ${showValue(value)}; it must be ${expects}.`,
    );
  }
}

const escaped = (word: string): string => word.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
const countOf = (answer: string, pattern: RegExp): number => answer.match(pattern)?.length ?? 0;
const isEmpty = (piece: string): boolean => piece.trim() === '';

/** Pieces between dividers, of which only the outermost may be empty; undefined where another is. */
function piecesOf(answer: string, divider: RegExp | string): readonly string[] | undefined {
  const pieces = answer.split(divider);
  if (pieces.slice(1, -1).some(isEmpty)) return undefined;
  return pieces.filter((piece) => !isEmpty(piece));
}

const POSTSCRIPTS: Readonly<Record<string, RegExp>> = { 'P.P.S': /p\.\s?p\.\s?s/, 'P.S.': /p\.\s?s\./ };
const CHOICES = ['My answer is yes.', 'My answer is no.', 'My answer is maybe.'];

/** By the ids of IFEval. */
const CHECKS: Readonly<Record<string, Check>> = {
  'keywords:existence': (answer, given) =>
    given.words('keywords').every((word) => new RegExp(escaped(word), 'iu').test(answer)),
  'keywords:frequency': (answer, given) =>
    given.compare(countOf(answer, new RegExp(escaped(given.text('keyword')), 'giu')), 'relation', 'frequency'),
  'keywords:forbidden_words': (answer, given) =>
    given
      .words('forbidden_words')
      .every((word) => !new RegExp(`(?<![\\p{L}\\p{N}_])${escaped(word)}(?![\\p{L}\\p{N}_])`, 'iu').test(answer)),
  'keywords:letter_frequency': (answer, given) => {
    const letter = given.text('letter').toLowerCase();
    const found = [...answer.toLowerCase()].filter((one) => one === letter).length;
    return given.compare(found, 'let_relation', 'let_frequency');
  },
  'length_constraints:number_words': (answer, given) =>
    given.compare(countOf(answer, /[\p{L}\p{N}\p{M}_]+/gu), 'relation', 'num_words'),
  'length_constraints:number_paragraphs': (answer, given) =>
    piecesOf(answer, /\s?\*\*\*\s?/)?.length === given.count('num_paragraphs'),
  'length_constraints:nth_paragraph_first_word': (answer, given) => {
    const paragraphs = answer.split('\n\n');
    const there = paragraphs.filter((paragraph) => !isEmpty(paragraph)).length;
    const nth = given.count('nth_paragraph');
    const paragraph = nth >= 1 && nth <= there ? paragraphs[nth - 1]!.trim() : '';
    const [word] = /^[^.,?!'"]*/.exec(paragraph.split(/\s+/, 1)[0]!.replace(/^'*"*/, ''))!;
    return there === given.count('num_paragraphs') && word.toLowerCase() === given.text('first_word').toLowerCase();
  },
  'detectable_content:number_placeholders': (answer, given) =>
    countOf(answer, /\[.*?\]/g) >= given.count('num_placeholders'),
  'detectable_content:postscript': (answer, given) => {
    const marker = given.text('postscript_marker');
    return (POSTSCRIPTS[marker] ?? new RegExp(escaped(marker.toLowerCase()))).test(answer.toLowerCase());
  },
  'detectable_format:number_bullet_lists': (answer, given) =>
    countOf(answer, /^\s*\*[^*].*$/gm) + countOf(answer, /^\s*-.*$/gm) === given.count('num_bullets'),
  'detectable_format:constrained_response': (answer) => CHOICES.some((choice) => answer.includes(choice)),
  'detectable_format:number_highlighted_sections': (answer, given) => {
    const single = (answer.match(/\*[^\n*]*\*/g) ?? []).filter((one) => !isEmpty(one.replace(/^\*+|\*+$/g, '')));
    const double = (answer.match(/\*\*[^\n*]*\*\*/g) ?? []).filter((one) => !isEmpty(one.slice(2, -2)));
    return single.length + double.length >= given.count('num_highlights');
  },
  'detectable_format:multiple_sections': (answer, given) => {
    const sections = answer.split(new RegExp(`\\s?${escaped(given.text('section_spliter'))}\\s?\\d+\\s?`));
    return sections.length - 1 >= given.count('num_sections');
  },
  'detectable_format:json_format': (answer) => {
    try {
      JSON.parse(
        answer
          .trim()
          .replace(/^```(?:json|Json|JSON)?/, '')
          .replace(/```$/, ''),
      );
      return true;
    } catch {
      return false;
    }
  },
  'detectable_format:title': (answer) =>
    (answer.match(/<<[^\n]+>>/g) ?? []).some((title) => !isEmpty(title.replace(/^<+|>+$/g, ''))),
  'combination:two_responses': (answer) => {
    const responses = piecesOf(answer, '******');
    return responses?.length === 2 && responses[0]!.trim() !== responses[1]!.trim();
  },
  'combination:repeat_prompt': (answer, given) =>
    answer.trim().toLowerCase().startsWith(given.text('prompt_to_repeat').toLowerCase()),
  'startend:end_checker': (answer, given) =>
    answer
      .trim()
      .replace(/^"+|"+$/g, '')
      .toLowerCase()
      .endsWith(given.text('end_phrase').toLowerCase()),
  'startend:quotation': (answer) => /^".*"$/s.test(answer.trim()),
  'change_case:english_capital': (answer) => /\p{Lu}/u.test(answer) && !/[\p{Ll}\p{Lt}]/u.test(answer),
  'change_case:english_lowercase': (answer) => /\p{Ll}/u.test(answer) && !/[\p{Lu}\p{Lt}]/u.test(answer),
  'punctuation:no_comma': (answer) => !answer.includes(','),
};

/** Ids of the instructions that `instructionConstraints` knows. */
export const INSTRUCTION_IDS: readonly string[] = Object.keys(CHECKS);

const constraintOptions = options('instructionConstraints', {
  /** Column with the ids of a row's instructions. Default `instruction_id_list`. */
  column: text({ default: 'instruction_id_list' }),
  /** Column with their arguments, an object each. Default `kwargs`. */
  argumentsColumn: text({ default: 'kwargs' }),
  /** The share of instructions that are followed, or 1 where all are and else 0. Default `share`. */
  score: oneOf(['share', 'all'], { default: 'share' }),
});
/** Options of `instructionConstraints`. */
export type InstructionConstraintsOptions = Given<typeof constraintOptions>;

/**
 * Instructions that a program can check (IFEval, arXiv 2311.07911; as a reward in Tülu 3, arXiv 2411.15124): 22 of its 25 kinds, by their ids, on
 * rows as its dataset has them. What stands before `</think>` and the tags of an answer are not looked at; an empty answer follows nothing. The
 * kinds that need a model of sentences or languages are not here: `number_sentences`, `capital_word_frequency`, `response_language`;
 * `english_capital` and `english_lowercase` look at the case and not whether it is English. Keywords are words and not regular expressions.
 *
 * @throws OptionError; VerifierInputError for an instruction that is not known, or whose arguments are not what it needs
 */
export function instructionConstraints(given: InstructionConstraintsOptions = {}): Verifier & HasSettings {
  const { column, argumentsColumn, score } = constraintOptions.read(given);
  return ruleVerifier('instructionConstraints', constraintOptions.settings(given), (request) => {
    const followed = instructionsOf(request, column, argumentsColumn).map(({ check, reader, id }) => {
      const answer = withoutThoughts(request.completion);
      return { id, isFollowed: answer !== '' && check(answer, reader) };
    });
    const count = followed.filter(({ isFollowed }) => isFollowed).length;
    const missed = followed.filter(({ isFollowed }) => !isFollowed).map(({ id }) => id);
    return {
      score: score === 'share' ? count / followed.length : Number(count === followed.length),
      explanation: missed.length === 0 ? 'all are followed' : `not followed: ${missed.join(', ')}`,
    };
  });
}

function instructionsOf({ row }: VerifyRequest, column: string, argumentsColumn: string) {
  const ids = columnOf('instructionConstraints', column, row);
  if (!Array.isArray(ids) || ids.length === 0) {
    const problem = `the column "${column}" is ${showValue(ids)}; it must be a list of ids of instructions, at least one.`;
    throw new VerifierInputError(`instructionConstraints: ${problem}`);
  }
  const given = row?.[argumentsColumn];
  return ids.map((id: unknown, i) => {
    const check = typeof id === 'string' && Object.hasOwn(CHECKS, id) ? CHECKS[id] : undefined;
    if (check) {
      const own = Array.isArray(given) ? (given[i] as Arguments | null) : undefined;
      return { id: id as string, check, reader: new Reader(id as string, own ?? {}) };
    }
    const near = typeof id === 'string' ? nearestName(id, INSTRUCTION_IDS) : undefined;
    const hint = near === undefined ? `known are ${INSTRUCTION_IDS.join(', ')}` : `did you mean "${near}"?`;
    throw new VerifierInputError(`instructionConstraints: there is no instruction ${showValue(id)} here; ${hint}`);
  });
}
