import {
  type Completion,
  custom,
  type GenerateRequest,
  type Generator,
  integer,
  PosttrainError,
  type Prompt,
  type SamplingParams,
} from '@posttrain/interfaces';
import type { Ledger } from '@posttrain/interfaces/ledger';
import { DataOptionError, RowError } from '../errors.js';
import { kindOf, ownValue } from '../rows.js';
import type { DataStep, StepContext } from '../step.js';
import { eachRow, rolloutShape } from './rollouts.js';

/** The option of a generator. */
export const generatorOption = rolloutShape.generator;

/** The option of several generators. */
export const generatorsOption = custom<readonly Generator[]>()(
  'a list of generators, at least one',
  (value) =>
    Array.isArray(value) &&
    value.length > 0 &&
    value.every((one: Partial<Generator> | null) => typeof one?.generate === 'function'),
  { settings: (generators) => generators.map(({ name }) => name).join(', ') },
);

/** Options of every step that makes rows with a generator. */
export const synthesisShape = {
  sampling: rolloutShape.sampling,
  /** Rows that are worked on at one time. Default 16. */
  concurrency: integer({ default: 16, min: 1, decisive: false }),
  /** Is charged with every completion, of rows that are dropped too. Set no limit of completions below what one row takes. */
  ledger: custom<Ledger>()('a Ledger', (value) => typeof (value as Partial<Ledger> | null)?.charge === 'function', {
    optional: true,
    decisive: false,
  }),
};

/** What making rows took. */
export interface SynthesisCost {
  readonly calls: number;
  readonly promptTokens: number;
  readonly completionTokens: number;
}

/** How a row came about. */
export interface Synthesis {
  readonly method: string;
  /** Names of the models that were asked. */
  readonly generators: readonly string[];
  /** Of all rows that were made together with this one, from one row. */
  readonly cost: SynthesisCost;
  /** How many those are: sums over rows divide by it. */
  readonly together: number;
}

/** A row with how it came about. */
export type Synthesised<R> = R & { readonly synthesis: Synthesis };

/** Texts with `{names}` in the place of values, by what they are for. Give some of them anew to replace them. */
export type Prompts<Name extends string = string> = Readonly<Record<Name, string>>;

const namesIn = (template: string): string[] => [...template.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!);

/** The option of prompts: some of the default ones, with no other names in braces than those have. */
export const promptsOption = <const P extends Prompts>(defaults: P) =>
  custom<Partial<Prompts<keyof P & string>>>()(
    `an object with some of ${Object.keys(defaults).join(', ')}: texts with no names in braces but the default's`,
    (value) =>
      typeof value === 'object' &&
      value !== null &&
      Object.entries(value).every(
        ([name, template]) =>
          typeof template === 'string' &&
          Object.hasOwn(defaults, name) &&
          namesIn(template).every((one) => namesIn(defaults[name]!).includes(one)),
      ),
    { optional: true, settings: (prompts) => JSON.stringify(prompts) },
  );

/** The option of some of a few names, all by default. */
export const atLeastOne = <const N extends string>(names: readonly N[]) =>
  custom<readonly N[]>()(
    `a list of at least one of ${names.join(', ')}`,
    (value) => Array.isArray(value) && value.length > 0 && value.every((one) => names.includes(one as N)),
    { default: names, settings: (given) => JSON.stringify(given) },
  );

/** The text with its values. @throws DataOptionError for a name without a value */
export function fill(template: string, values: Readonly<Record<string, string | number>>): string {
  return template.replaceAll(/\{(\w+)\}/g, (_, name: string) => {
    if (Object.hasOwn(values, name)) return String(values[name]);
    throw new DataOptionError(
      'prompt',
      `there is no value for {${name}}; there are ${Object.keys(values).join(', ')}.`,
    );
  });
}

/** Asks models on behalf of one row, with a seed of its own for every label, and counts what that takes. */
export interface Ask {
  (model: Generator, prompt: Prompt, label: string, more?: Partial<GenerateRequest>): Promise<string>;
  many(model: Generator, prompt: Prompt, label: string, n: number, more?: Partial<GenerateRequest>): Promise<string[]>;
  /** As `many`, with how each ended. */
  drawn(...asked: Parameters<Ask['many']>): Promise<readonly Completion[]>;
  readonly cost: SynthesisCost;
  readonly asked: ReadonlySet<string>;
}

/** What is asked for `id`, with seeds that `seedOf` makes of labels. */
export function asking(
  id: string,
  seedOf: (label: string) => number,
  {
    sampling,
    ledger,
    signal,
  }: { sampling?: SamplingParams | undefined; ledger?: Ledger | undefined; signal?: AbortSignal },
): Ask {
  const cost = { calls: 0, promptTokens: 0, completionTokens: 0 };
  const asked = new Set<string>();
  const completions: Ask['drawn'] = async (model, prompt, label, n, more) => {
    const request = { ...sampling, ...more, prompt, n, seed: seedOf(`${id} ${label}`), ...(signal && { signal }) };
    const [drawn] = await model.generate([request]);
    if (drawn?.length !== n) {
      const problem = `${model.name} returned ${drawn?.length ?? 'no'} completions where ${n} were asked for (${label} of ${id})`;
      throw new PosttrainError('BAD_RESPONSE', problem);
    }
    signal?.throwIfAborted();
    asked.add(model.name);
    const spent = { promptTokens: 0, completionTokens: 0 };
    for (const { usage } of drawn) {
      spent.promptTokens += usage.promptTokens;
      spent.completionTokens += usage.completionTokens;
    }
    ledger?.charge({ ...spent, completions: n, generatorCalls: 1 });
    cost.calls++;
    cost.promptTokens += spent.promptTokens;
    cost.completionTokens += spent.completionTokens;
    return drawn;
  };
  const many: Ask['many'] = async (...given) => (await completions(...given)).map(({ text }) => text);
  const ask = async (...[model, prompt, label, more]: Parameters<Ask>) =>
    (await many(model, prompt, label, 1, more))[0]!;
  return Object.assign(ask, { many, drawn: completions, cost, asked });
}

/** A row that is made, or why there is none. */
export type Made<Out> = readonly { readonly row: Out; readonly part: string | number }[] | { readonly drop: string };

/** A step that makes rows of each row by asking models; every row it makes says how it came about. */
export function synthesisStep<R extends object, Out extends object>(
  method: string,
  version: string,
  settings: { readonly concurrency: number; sampling?: SamplingParams | undefined; ledger?: Ledger | undefined },
  make: (row: R, ask: Ask, context: StepContext<R>, rowNumber: number) => Promise<Made<Out>>,
): DataStep<R, Synthesised<Out>> {
  return {
    name: method,
    version,
    apply: (rows, context) =>
      eachRow(
        rows as AsyncIterable<never>,
        context as unknown as StepContext<never>,
        settings.concurrency,
        async (given, rowNumber) => {
          const row = given as R;
          const seedOf = (label: string) => context.random(label).integer(0, 2 ** 31 - 1);
          const ask = asking(context.keyOf(row).id, seedOf, { ...settings, signal: context.signal });
          const made = await make(row, ask, context, rowNumber);
          if ('drop' in made) {
            context.drop(row, made.drop);
            return [];
          }
          const synthesis = { method, generators: [...ask.asked], cost: { ...ask.cost }, together: made.length };
          return made.map((one) => context.derive({ ...one.row, synthesis }, row, one.part));
        },
      ),
  };
}

/** A column that must be a text. @throws RowError */
export function textOf(row: object, column: string, rowNumber: number): string {
  const value = ownValue(row, column);
  if (typeof value === 'string' && value !== '') return value;
  throw new RowError(rowNumber, column, `must be a text that is not empty, got ${kindOf(value)}.`);
}

/** The last number of a text, from `low` to `high`; of "4/5" and "4 out of 5" the 4. `null` where there is none in that range. */
export function ratingIn(text: string, low: number, high: number): number | null {
  const own = text.replaceAll(/(?<=\d\**)\s*(?:\/|\bout of\b)\s*(\d+(?:\.\d+)?)/gi, (found, of: string) =>
    Number(of) === high ? ' ' : found,
  );
  const all = own.match(/-?\d+(?:\.\d+)?/g) ?? [];
  const last = Number(all.at(-1) ?? Number.NaN);
  return last >= low && last <= high ? last : null;
}
