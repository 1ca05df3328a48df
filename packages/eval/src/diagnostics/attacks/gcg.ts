import {
  boolean,
  type ChangeableSequence,
  custom,
  type Given,
  type InputGradients,
  integer,
  oneOf,
  options,
} from '@posttrain/interfaces';
import { createRandom, type Random } from '@posttrain/interfaces/random';
import { EvaluationError } from '../../errors.js';
import { assertLength } from '../../task-kind.js';

type Tokens = readonly number[];

const isIds = (value: unknown): boolean =>
  Array.isArray(value) && value.every((id) => Number.isSafeInteger(id) && (id as number) >= 0);
const isModel = (value: unknown): boolean =>
  typeof (value as Partial<InputGradients> | null)?.inputGradient === 'function' &&
  typeof (value as Partial<InputGradients>).losses === 'function';

const gcgOptions = options('gcg', {
  /** The model that is attacked: `inputGradients(model)` of `@posttrain/lm`. */
  model: custom<InputGradients>()('a model with losses and inputGradient', isModel, { settings: ({ name }) => name }),
  /** Token ids that stand before the suffix. */
  before: custom<Tokens>()('a list of token ids', isIds, {}),
  /** What the suffix begins as; its length stays. */
  suffix: custom<Tokens>()('a list of token ids', (value) => isIds(value) && (value as Tokens).length > 0, {}),
  /** Token ids between the suffix and the target, such as the rest of a chat template. Default: none. */
  after: custom<Tokens>()('a list of token ids', isIds, { default: [] }),
  /** What the model is to be made to say. */
  target: custom<Tokens>()('a list of token ids', (value) => isIds(value) && (value as Tokens).length > 0, {}),
  /** Default 250. */
  steps: integer({ default: 250, min: 1 }),
  /** Suffixes that are tried at each step (B). Default 512. */
  candidates: integer({ default: 512, min: 1 }),
  /** At each place the tokens of this many of the most negative gradients are drawn from (k). Default 256. */
  topK: integer({ default: 256, min: 1 }),
  /** Tokens of a candidate that are drawn anew. Default 1. */
  replacements: integer({ default: 1, min: 1 }),
  /** Ids that a suffix may not have, such as special tokens. Default: none. */
  forbidden: custom<Tokens>()('a list of token ids', isIds, { default: [] }),
  /** Whether a suffix can be typed: its text gives these tokens again. Others are not tried. Default: every one. */
  survives: custom<(suffix: Tokens) => boolean>()('a function of token ids', (value) => typeof value === 'function', {
    optional: true,
  }),
  /** `gradient` is the attack; `random` draws from all tokens alike, which is its control at as many evaluations. Default `gradient`. */
  proposal: oneOf(['gradient', 'random'], { default: 'gradient' }),
  /** Ends as soon as a suffix is found after which greedy decoding gives the target. Default true. */
  stopEarly: boolean({ default: true }),
  /** Default 0. */
  seed: integer({ default: 0 }),
  signal: custom<AbortSignal>()('an AbortSignal', (value) => value instanceof AbortSignal, { optional: true }),
});
/** Options of `gcg`. */
export type GcgOptions = Given<typeof gcgOptions>;

/** What an attack has found. */
export interface GcgResult {
  /** The best suffix: one after which greedy decoding gives the target where there is one, else that of the lowest loss. */
  readonly suffix: readonly number[];
  /** Its mean −log p of the target's tokens, in nats. */
  readonly loss: number;
  /** Whether greedy decoding gives the target after it. */
  readonly isGreedy: boolean;
  /** The loss that the attack began with, and of the suffix that each step went on from. */
  readonly losses: readonly number[];
  /** Suffixes whose loss was asked for, the first among them, and backward passes. */
  readonly evaluations: number;
  readonly gradients: number;
}

/** A place of a suffix, and which of its allowed tokens, by gradient from the most negative, stands there instead. */
export type GcgChoice = readonly [place: number, rank: number];

/**
 * Greedy Coordinate Gradient (arXiv 2307.15043, algorithm 1): a suffix that makes a model say a target. At each step
 *
 *   X_i = top-k of −∇_{e_i} L(suffix);  B candidates, each with a token of a uniform place i replaced by one of X_i;  suffix ← argmin L(candidate)
 *
 * with L the mean of −log p(target | before, suffix, after). The best candidate is taken even where it is worse than the suffix was, as in the paper. It is for models of one's own: it needs
 * their gradients, and says what an attacker who has the weights can do. What `proposal: 'random'` finds at the same number of evaluations is what it must be set against.
 *
 * @throws OptionError; EvaluationError `BAD_OPTION` for ids outside the vocabulary or more replacements than places, `NO_CANDIDATES` where none survives, `NOT_FINITE`, `BAD_RESPONSE`
 */
export async function gcg(given: GcgOptions): Promise<GcgResult> {
  const read = gcgOptions.read(given);
  const { model, before, after, target, steps, candidates: width, topK, replacements, survives, signal } = read;
  const forbidden = new Set(read.forbidden);
  assertIds(read);
  const allowed = Array.from({ length: model.vocabSize }, (_, id) => id).filter((id) => !forbidden.has(id));
  if (allowed.length === 0) throw new EvaluationError('BAD_OPTION', 'gcg: every token is forbidden.');
  const ranks = Math.min(topK, allowed.length);
  const random = createRandom(read.seed, 'gcg');
  const sequenceOf = (suffix: Tokens): ChangeableSequence => {
    const to = before.length + suffix.length;
    return {
      tokens: [...before, ...suffix, ...after, ...target],
      ...{ from: before.length, to, targetFrom: to + after.length },
    };
  };
  let [evaluations, gradients] = [0, 0];
  const bestOf = async (suffixes: readonly Tokens[]): Promise<Found> => {
    signal?.throwIfAborted();
    const found = await model.losses(suffixes.map(sequenceOf));
    assertLength(model.name, 'losses', found.length, suffixes.length, 'sequences');
    evaluations += suffixes.length;
    const all = found.map((one, i) => ({ ...one, suffix: suffixes[i]! }));
    const bad = all.find(({ loss }) => !Number.isFinite(loss));
    if (bad) throw new EvaluationError('NOT_FINITE', `gcg: ${model.name} gave the loss ${bad.loss}.`);
    const greedy = read.stopEarly ? all.filter(({ isGreedy }) => isGreedy) : [];
    return (greedy.length > 0 ? greedy : all).reduce((a, b) => (b.loss < a.loss ? b : a));
  };
  let current = await bestOf([read.suffix]);
  let best = current;
  const losses = [current.loss];
  for (let step = 0; step < steps && !(read.stopEarly && current.isGreedy); step++) {
    signal?.throwIfAborted();
    const { suffix } = current;
    let made: number[][];
    if (read.proposal === 'random') {
      made = Array.from({ length: width }, () =>
        changed(suffix, places(random, suffix.length, replacements), () => random.pick(allowed)),
      );
    } else {
      const gradient = await model.inputGradient(sequenceOf(suffix));
      assertLength(model.name, 'rows of a gradient', gradient.length, suffix.length, 'tokens');
      gradients++;
      const choices = Array.from({ length: width }, () =>
        places(random, suffix.length, replacements).map((place): GcgChoice => [place, random.integer(0, ranks - 1)]),
      );
      made = gcgCandidates(suffix, gradient, choices, read.forbidden);
    }
    const kept = survives ? made.filter(survives) : made;
    if (kept.length === 0)
      throw new EvaluationError(
        'NO_CANDIDATES',
        `gcg: none of ${width} candidates of step ${step} survives; begin with a suffix that does, or leave survives out.`,
      );
    current = await bestOf(kept);
    losses.push(current.loss);
    if (isBetter(current, best)) best = current;
  }
  const { suffix, loss, isGreedy } = best;
  return { suffix, loss, isGreedy, losses, evaluations, gradients };
}

/**
 * The candidates of one step: the suffix with the tokens that were chosen. At each place tokens are ranked by their gradient, the most negative first (of equal ones the smaller id), the
 * forbidden ones left out.
 *
 * @param gradient a row [vocabulary] a token of the suffix
 * @param choices one list a candidate
 * @throws EvaluationError `BAD_OPTION` for a place or a rank that there is not
 */
export function gcgCandidates(
  suffix: Tokens,
  gradient: readonly ArrayLike<number>[],
  choices: readonly (readonly GcgChoice[])[],
  forbidden: Tokens = [],
): number[][] {
  const out = new Set(forbidden);
  const deepest = choices.flat().reduce((most, [, rank]) => Math.max(most, rank), 0);
  const ranked = new Map<number, number[]>();
  const at = (place: number): number[] => {
    const known = ranked.get(place) ?? mostNegative(gradient[place] ?? [], deepest + 1, out);
    ranked.set(place, known);
    return known;
  };
  return choices.map((list) => {
    const next = new Map(list);
    return changed(suffix, [...next.keys()], (place) => {
      const token = at(place)[next.get(place)!];
      if (token !== undefined && place < suffix.length) return token;
      throw new EvaluationError(
        'BAD_OPTION',
        `gcgCandidates: there is no token of rank ${next.get(place)} at place ${place}.`,
      );
    });
  });
}

interface Found {
  readonly suffix: Tokens;
  readonly loss: number;
  readonly isGreedy: boolean;
}

const isBetter = (a: Found, b: Found): boolean => (a.isGreedy === b.isGreedy ? a.loss < b.loss : a.isGreedy);

const changed = (suffix: Tokens, at: Tokens, tokenAt: (place: number) => number): number[] => {
  const next = [...suffix];
  for (const place of at) next[place] = tokenAt(place);
  return next;
};

/** Distinct places, uniformly. */
const places = (random: Random, length: number, count: number): number[] =>
  count === 1
    ? [random.integer(0, length - 1)]
    : random.shuffled(Array.from({ length }, (_, place) => place)).slice(0, count);

/** Ids of the smallest numbers in order; a vocabulary is sorted as numbers, and only what is at or below the last of them by id too. */
function mostNegative(row: ArrayLike<number>, count: number, out: ReadonlySet<number>): number[] {
  const values = Float64Array.from(row, (x, id) => (out.has(id) ? Number.POSITIVE_INFINITY : x));
  const last = Float64Array.from(values).sort()[Math.min(count, values.length) - 1];
  const ids: number[] = [];
  values.forEach((x, id) => {
    if (x <= last! && x !== Number.POSITIVE_INFINITY) ids.push(id);
  });
  return ids.sort((a, b) => values[a]! - values[b]! || a - b).slice(0, count);
}

function assertIds({ model, before, suffix, after, target, replacements }: ReturnType<typeof gcgOptions.read>): void {
  for (const [name, ids] of Object.entries({ before, suffix, after, target })) {
    const bad = ids.find((id) => id >= model.vocabSize);
    if (bad !== undefined)
      throw new EvaluationError(
        'BAD_OPTION',
        `gcg: ${name} has the token ${bad}; ${model.name} has ${model.vocabSize}.`,
      );
  }
  if (replacements > suffix.length)
    throw new EvaluationError(
      'BAD_OPTION',
      `gcg: ${replacements} replacements of a suffix of ${suffix.length} tokens.`,
    );
}
