import { assertKnownOptions, showValue } from '@posttrain/interfaces';
import { strip, stripStart } from '@posttrain/interfaces/python';
import { findAll, pythonPattern } from '../python/pattern.js';
import { type Doc, type LmEvalFilterConfig, LmEvalFunction, type LmEvalTaskConfig, taskError } from './config.js';
import type { Fields } from './fields.js';

/** What filters make of the answers to one problem: a list of them, until one is taken. */
export type Filtered = unknown;
type Step = (answers: Filtered, doc: Doc) => Filtered;
type Arguments = Readonly<Record<string, unknown>>;

/** One entry of `filter_list`, ready to run. */
export interface FilterChain {
  readonly name: string;
  apply(answers: readonly string[], doc: Doc): Filtered;
}

const DEFAULT_PATTERN = '#### (\\-?[0-9\\.\\,]+)';

/** What each filter of lm-evaluation-harness may be given, and what it does with the answers to a problem. */
const FILTERS: Readonly<
  Record<string, { readonly keys: readonly string[]; make(given: Arguments, wrong: (problem: string) => Error): Step }>
> = {
  take_first: { keys: [], make: (_, wrong) => (answers) => listOf(answers, wrong)[0] },
  take_first_k: {
    keys: ['k'],
    make: ({ k }, wrong) => {
      if (!Number.isInteger(k) || (k as number) < 1) throw wrong(`k of take_first_k is ${showValue(k)}`);
      return (answers) => {
        const list = listOf(answers, wrong);
        if (list.length < (k as number))
          throw wrong(`take_first_k takes ${k} answers of ${list.length}; raise "repeats"`);
        return list.slice(0, k as number);
      };
    },
  },
  majority_vote: { keys: [], make: (_, wrong) => (answers) => [mostFrequent(listOf(answers, wrong))] },
  lowercase: { keys: [], make: (_, wrong) => each(wrong, (text) => text.toLowerCase()) },
  uppercase: { keys: [], make: (_, wrong) => each(wrong, (text) => text.toUpperCase()) },
  remove_whitespace: { keys: [], make: (_, wrong) => each(wrong, stripStart) },
  regex: {
    keys: ['regex_pattern', 'group_select', 'fallback'],
    make: (given, wrong) => {
      const { find, fallback } = finder(given, wrong);
      return each(wrong, (text) => find(text) ?? fallback);
    },
  },
  map: {
    keys: ['mapping_dict', 'default_value'],
    make: ({ mapping_dict: mapping = {}, default_value: otherwise = null }, wrong) =>
      each(wrong, (text) => {
        const known = mapping as Readonly<Record<string, unknown>>;
        return Object.hasOwn(known, text) ? known[text] : otherwise;
      }),
  },
  multi_choice_regex: {
    keys: ['regex_pattern', 'group_select', 'fallback', 'ignore_case', 'ignore_punctuation', 'regexes_to_ignore'],
    make: multipleChoice,
  },
};

/** The filters of a task; without any, the first answer is taken. @throws EvaluationError `LM_EVAL_TASK`, `PYTHON_PATTERN` */
export function filterChains(config: LmEvalTaskConfig, fields: Fields): FilterChain[] {
  const chains: readonly LmEvalFilterConfig[] = config.filter_list ?? [
    { name: 'none', filter: [{ function: 'take_first' }] },
  ];
  return chains.map(({ name, filter }) => {
    const wrong = (problem: string) => taskError(config, `filter "${name}": ${problem}.`);
    if (typeof name !== 'string' || !Array.isArray(filter)) throw wrong('it needs a "name" and a list "filter"');
    const steps = filter.map(({ function: kind, ...given }: Record<string, unknown>) => {
      if (kind === 'custom' && given.filter_fn instanceof LmEvalFunction) {
        const own = fields.function<Filtered[]>(given.filter_fn, 'filter_fn');
        return ((answers, doc) => own([answers], [doc])[0]) satisfies Step;
      }
      const found = Object.hasOwn(FILTERS, String(kind)) ? FILTERS[String(kind)] : undefined;
      if (!found)
        throw wrong(
          `${showValue(kind)} is no filter that is carried over; there are ${Object.keys(FILTERS).join(', ')}, custom`,
        );
      assertKnownOptions(`lm-eval filter ${kind}`, given, found.keys);
      return found.make(given, wrong);
    });
    return { name, apply: (answers, doc) => steps.reduce<Filtered>((done, step) => step(done, doc), answers) };
  });
}

function listOf(answers: Filtered, wrong: (problem: string) => Error): readonly unknown[] {
  if (Array.isArray(answers) && answers.length > 0) return answers;
  throw wrong('a filter of lists stands behind one that has taken an answer');
}

const each =
  (wrong: (problem: string) => Error, change: (text: string, doc: Doc) => unknown): Step =>
  (answers, doc) =>
    listOf(answers, wrong).map((answer) => {
      if (typeof answer !== 'string') throw wrong(`a filter of texts gets ${showValue(answer)}`);
      return change(answer, doc);
    });

/** The most frequent; of several, the one that came first. */
function mostFrequent(answers: readonly unknown[]): unknown {
  const counts = new Map<unknown, number>();
  for (const answer of answers) counts.set(answer, (counts.get(answer) ?? 0) + 1);
  const most = Math.max(...counts.values());
  return [...counts].find(([, count]) => count === most)![0];
}

/** The match that a regex filter takes: `null` where there is none, or nothing is in it. */
function finder(given: Arguments, wrong: (problem: string) => Error) {
  const { regex_pattern: pattern = DEFAULT_PATTERN, group_select: at = 0, fallback = '[invalid]' } = given;
  if (typeof pattern !== 'string' || !Number.isInteger(at) || typeof fallback !== 'string')
    throw wrong('regex_pattern and fallback are texts, group_select is a whole number');
  return { find: (text: string) => takeMatch(pythonPattern(pattern), text, at as number, wrong), fallback };
}

function takeMatch(pattern: RegExp, text: string, at: number, wrong: (problem: string) => Error): string | null {
  const found = findAll(pattern, text);
  if (found.length === 0) return null;
  const match = found.at(at);
  if (match === undefined) throw wrong(`group_select is ${at}, and an answer has ${found.length} matches`);
  return match === null ? null : strip(match);
}

/** `MultiChoiceRegexFilter`: the pattern; else a choice by its text; else a letter behind a colon. It reads the column `choices`. */
function multipleChoice(given: Arguments, wrong: (problem: string) => Error): Step {
  const { find, fallback } = finder(given, wrong);
  const {
    group_select: at = 0,
    ignore_case: anyCase,
    ignore_punctuation: noPunctuation,
    regexes_to_ignore: ignored = [],
  } = given;
  const dropped = (ignored as readonly string[]).map(pythonPattern);
  const bare = (text: string): string => {
    const kept = dropped.reduce((rest, pattern) => rest.replace(pattern, ''), text);
    const cased = anyCase ? kept.toLowerCase() : kept;
    return noPunctuation ? cased.replace(/\p{P}/gu, '') : cased;
  };
  return each(wrong, (text, { choices }) => {
    if (!Array.isArray(choices)) throw wrong('multi_choice_regex reads the column "choices", which the row has not');
    const named = new Map<string, string>();
    const letters = choices.map((choice: unknown, i) => {
      const letter = String.fromCharCode(65 + i);
      named.set(bare(strip(String(choice))), `(${letter})`);
      return letter;
    });
    const escaped = choices.map((choice: unknown) => bare(strip(String(choice))).replace(/[^\p{L}\p{N}_]/gu, '\\$&'));
    const take = (pattern: string, from: string) => takeMatch(pythonPattern(pattern), from, at as number, wrong);
    const byText = () => {
      const match = take(escaped.join('|'), bare(text));
      return match && (named.get(match) ?? match);
    };
    const byLetter = () => {
      const match = take(`:[\\s]*(${letters.join('|')})`, text);
      return match && `(${match})`;
    };
    return find(text) || byText() || byLetter() || fallback;
  });
}
