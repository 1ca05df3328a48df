import { custom, type Given, integer, listOf, options, type Prompt, text } from '@posttrain/interfaces';
import { createRandom, type Random } from '@posttrain/interfaces/random';
import { meanScore } from '../../metrics/mean.js';
import type { GenerateTask } from '../../task.js';
import { type CountTokens, fitSize } from '../fit.js';
import { stringMatch } from '../string-match.js';
import { sentencesOf } from '../words.js';
import { commonWords } from './common-words.js';
import { frequentWords } from './frequent-words.js';
import { needles } from './needles.js';
import { questionAnswering, type RulerQuestion } from './questions.js';
import { variableTracking } from './variable-tracking.js';

/** What a problem is built of. */
export interface RulerMaterial {
  /** Tokens that the problem may have. */
  readonly length: number;
  /** Sentences of the text that needles are hidden in; absent: made up. */
  readonly sentences?: readonly string[] | undefined;
  readonly questions?: readonly RulerQuestion[] | undefined;
}

/** A task of RULER: how a problem is made of so much straw. */
export interface RulerBuilder {
  /** Tokens that the answer may have; they count as part of the length. */
  readonly tokens: number;
  readonly smallest: number;
  /** Default `all`. */
  readonly metric?: 'all' | 'part';
  build(size: number, random: Random, material: RulerMaterial, index: number): Omit<RulerRow, 'index' | 'tokens'>;
}

/** A problem of RULER, by the columns of its files. */
export interface RulerRow {
  readonly index: number;
  readonly input: string;
  /** What the answer begins with. */
  readonly prefix: string;
  readonly outputs: readonly string[];
  /** Tokens of input, prefix and answer together. */
  readonly tokens: number;
}

/** The 13 tasks of RULER by their names (arXiv 2404.06654, table 2; `synthetic.yaml`). */
export const rulerTasks = {
  niah_single_1: needles({ haystack: 'noise', keys: 'words', values: 'numbers', counts: [1, 1, 1] }),
  niah_single_2: needles({ haystack: 'essay', keys: 'words', values: 'numbers', counts: [1, 1, 1] }),
  niah_single_3: needles({ haystack: 'essay', keys: 'words', values: 'uuids', counts: [1, 1, 1] }),
  niah_multikey_1: needles({ haystack: 'essay', keys: 'words', values: 'numbers', counts: [4, 1, 1] }),
  niah_multikey_2: needles({ haystack: 'needle', keys: 'words', values: 'numbers', counts: [1, 1, 1] }),
  niah_multikey_3: needles({ haystack: 'needle', keys: 'uuids', values: 'uuids', counts: [1, 1, 1] }),
  niah_multivalue: needles({ haystack: 'essay', keys: 'words', values: 'numbers', counts: [1, 4, 1] }),
  niah_multiquery: needles({ haystack: 'essay', keys: 'words', values: 'numbers', counts: [4, 1, 4] }),
  vt: variableTracking(4),
  cwe: commonWords,
  fwe: frequentWords(2),
  qa_1: questionAnswering(1),
  qa_2: questionAnswering(2),
} as const satisfies Readonly<Record<string, RulerBuilder>>;

/** The name of a task of RULER. */
export type RulerTaskName = keyof typeof rulerTasks;

const rulerOptions = options('ruler', {
  /** Tokens of a problem, its answer among them. */
  length: integer({ min: 128 }),
  /** Counts tokens as the model does. */
  countTokens: custom<CountTokens>()('a function of a text', (value) => typeof value === 'function', {}),
  /** Problems. Default 500, as RULER has them. */
  count: integer({ default: 500, min: 1 }),
  /** Default 42, as there. */
  seed: integer({ default: 42 }),
  /** A text that needles are hidden in. Default: sentences that are made up; RULER's are essays that it downloads. */
  essay: text({ optional: true }),
  /** Questions of `qa_1` and `qa_2`. Default: facts that are made up; RULER's are of SQuAD and HotpotQA. */
  questions: listOf(
    custom<RulerQuestion>()('a question with documents', (value) => typeof value === 'object', {}),
    { optional: true },
  ),
});
/** Options of `ruler`. */
export type RulerOptions = Given<typeof rulerOptions>;

/**
 * A task of RULER (arXiv 2404.06654) at a length in the model's own tokens: its prompts, answers and metric, with material of our own, so that
 * nothing is downloaded and nothing of it is known by heart. Scores are therefore not those of RULER's own files.
 *
 * @throws OptionError; EvaluationError `TOO_SHORT` where the length holds no problem of the task
 */
export function ruler(name: RulerTaskName, given: RulerOptions): GenerateTask<RulerRow> {
  const { length, countTokens, count, seed, essay, questions } = rulerOptions.read(given);
  const builder: RulerBuilder = rulerTasks[name];
  const sentences = essay === undefined ? undefined : sentencesOf(essay);
  const material: RulerMaterial = { length, sentences, questions };
  const make = (size: number, index: number) => {
    const made = builder.build(size, createRandom(seed, name, index), material, index);
    return { ...made, tokens: countTokens(made.input + made.prefix) + builder.tokens };
  };
  const size = fitSize(`ruler ${name}`, length, builder.smallest, (tried) => make(tried, 0).tokens);
  const dataset = Array.from({ length: count }, (_, index): RulerRow => {
    let used = size;
    let row = make(used, index);
    while (row.tokens > length && used > builder.smallest) {
      used = Math.max(builder.smallest, used - Math.ceil(used / 50));
      row = make(used, index);
    }
    if (row.tokens > length) fitSize(`ruler ${name}`, length, used, () => row.tokens);
    return { index, ...row };
  });
  return {
    type: 'generate',
    name: `ruler ${name} ${length}`,
    dataset,
    prompt: ({ input }): Prompt => input,
    prefix: ({ prefix }) => prefix,
    sampling: { temperature: 0, maxTokens: builder.tokens },
    graders: [stringMatch({ mode: builder.metric ?? 'all' })],
    metrics: [meanScore()],
  };
}
