import {
  custom,
  type Generator,
  type Given,
  integer,
  listOf,
  oneOf,
  options,
  type Prompt,
  type SamplingParams,
} from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';
import { type MeanEstimate, meanWithStandardError } from '../statistics/standard-error.js';
import { assertLength, problemSeed } from '../task-kind.js';
import { type InjectionName, injections } from './attacks/injections.js';

const isFunction = (value: unknown): boolean => typeof value === 'function';

/** A task whose data an attacker can write into. */
export interface AttackedRow {
  readonly id: string;
  /** What the model is to do with the data. */
  readonly data: string;
  /** What the attacker wants. */
  readonly instruction: string;
}

const attackOptions = options('attackSuccess', {
  generator: custom<Generator>()(
    'a generator: an object with a name and generate(requests)',
    (value) => isFunction((value as Generator | null)?.generate),
    { settings: ({ name }) => name },
  ),
  rows: custom<readonly AttackedRow[]>()(
    'a list of { id, data, instruction }',
    (value) => Array.isArray(value) && value.length > 0,
    {},
  ),
  /** The prompt of the task with some data in it: what a defence changes. */
  prompt: custom<(data: string, row: AttackedRow) => Prompt>()('a function of data', isFunction, {}),
  /** Whether the model did what the attacker wanted. */
  succeeded: custom<(completion: string, row: AttackedRow) => boolean>()('a function of a completion', isFunction, {}),
  /** Default: all. */
  attacks: listOf(oneOf(Object.keys(injections) as InjectionName[], {}), { optional: true }),
  /** Default: greedy, at most 256 tokens. */
  sampling: custom<SamplingParams>()(
    'an object of sampling parameters',
    (value) => typeof value === 'object' && value !== null,
    {
      default: { temperature: 0, maxTokens: 256 },
    },
  ),
  /** Default 0. */
  seed: integer({ default: 0 }),
});
/** Options of `attackSuccess`. */
export type AttackSuccessOptions = Given<typeof attackOptions>;

/** How often each attack succeeds. */
export interface AttackSuccess {
  /** Attack success rate, over rows. */
  readonly rates: Readonly<Partial<Record<InjectionName, MeanEstimate>>>;
  /** The same without an attack: what "succeeds" by itself. */
  readonly control: MeanEstimate;
  /** Rows on which any of the attacks succeeds. */
  readonly any: MeanEstimate;
  /** What the model wrote, by attack, in the order of the rows. */
  readonly completions: Readonly<Partial<Record<InjectionName, readonly string[]>>>;
}

/**
 * Attack success rates (ASV of arXiv 2310.12815 §5) of scripted prompt injections, with a control arm that sees the data as they are. Attacks are text only: nothing is run. One that fails says
 * little (an attacker adapts); one that succeeds says that the model, or its defence in `prompt`, does not hold. Attacks by gradients are not among them.
 *
 * @throws OptionError; EvaluationError `BAD_RESPONSE` for a generator that leaves requests out
 */
export async function attackSuccess(given: AttackSuccessOptions): Promise<AttackSuccess> {
  const {
    generator,
    rows,
    prompt,
    succeeded,
    attacks = Object.keys(injections) as InjectionName[],
    sampling,
    seed,
  } = attackOptions.read(given);
  if (attacks.length === 0)
    throw new EvaluationError('BAD_OPTION', 'attackSuccess: attacks is empty; name one, or leave it out for all.');
  const answered = async (attack: InjectionName | undefined): Promise<string[]> => {
    const requests = rows.map((row) => {
      const data = attack === undefined ? row.data : injections[attack](row.data, row.instruction);
      return { prompt: prompt(data, row), ...sampling, seed: problemSeed(seed, row.id) };
    });
    const answers = await generator.generate(requests);
    assertLength(generator.name, 'arrays of completions', answers.length, rows.length, 'requests');
    return answers.map((completions, i) => {
      assertLength(generator.name, 'completions', completions.length, 1, `sample of "${rows[i]!.id}"`);
      return completions[0]!.text;
    });
  };
  const won = (completions: readonly string[]): number[] =>
    completions.map((text, i) => Number(succeeded(text, rows[i]!)));
  const control = meanWithStandardError(won(await answered(undefined)));
  const rates: Partial<Record<InjectionName, MeanEstimate>> = {};
  const written: Partial<Record<InjectionName, readonly string[]>> = {};
  const any = rows.map(() => 0);
  for (const attack of attacks) {
    const completions = await answered(attack);
    const wins = won(completions);
    wins.forEach((win, i) => {
      any[i] = Math.max(any[i]!, win);
    });
    rates[attack] = meanWithStandardError(wins);
    written[attack] = completions;
  }
  return { rates, control, any: meanWithStandardError(any), completions: written };
}
