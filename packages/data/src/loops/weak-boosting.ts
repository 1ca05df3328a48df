import { createRandom, type Random } from '@posttrain/interfaces/random';
import { DataOptionError } from '../errors.js';

/** The parts of boosting with weak labels. */
export interface WeakBoostingOptions<Model, Item, Answer> {
  readonly items: readonly Item[];
  /** Trains a model of all rows so far; `null` is what there is before there are any. */
  readonly train: (
    rows: readonly { readonly item: Item; readonly answer: Answer }[],
    round: number,
  ) => Promise<Model> | Model;
  /** What the model answers, once for each item. */
  readonly generate: (
    model: Model,
    items: readonly Item[],
    round: number,
  ) => Promise<readonly Answer[]> | readonly Answer[];
  /** A weak source of answers (people, a cheap model), right for a small share β of what it is asked. */
  readonly weak: (items: readonly Item[], random: Random) => Promise<readonly Answer[]> | readonly Answer[];
  /** A noisy filter: whether an answer looks right. `null`: nothing is filtered (an ablation). */
  readonly filter: ((item: Item, answer: Answer, random: Random) => Promise<boolean> | boolean) | null;
  /** Whether the weak source is asked about what the model does not solve yet, by the filter, or about items at random (an ablation). Default true. */
  readonly focus?: boolean;
  /** Items that the weak source is asked about in a round. */
  readonly perRound: number;
  readonly rounds: number;
  readonly evaluate?: (model: Model) => Promise<number> | number;
  readonly seed?: number;
}

/** What a round came to. */
export interface WeakBoostingRound<Model> {
  readonly model: Model;
  /** Rows of the model's own that passed the filter, and of the weak source. */
  readonly synthetic: number;
  readonly weak: number;
  readonly value?: number;
}

/**
 * Boosting on mostly synthetic data (Escaping Collapse, arXiv 2502.08924): every round the model answers all items; what passes a noisy filter is trained on again, and a weak source, whose answers are right for a small share only, is
 * asked about items that the model does not solve yet, as a booster's weak learner is. The rows of all rounds are trained on together, weak ones as far as they pass the filter. Without the focus, or without the
 * filter, it is the loop that collapses or stalls.
 *
 * @throws DataOptionError for other numbers of answers than were asked for
 */
export async function weakBoosting<Model, Item, Answer>({
  items,
  train,
  generate,
  weak,
  filter,
  focus = true,
  perRound,
  rounds,
  evaluate,
  seed = 0,
}: WeakBoostingOptions<Model, Item, Answer>): Promise<readonly WeakBoostingRound<Model>[]> {
  const done: WeakBoostingRound<Model>[] = [];
  const kept: { item: Item; answer: Answer }[] = [];
  let model: Model | null = null;
  for (let round = 0; round < rounds; round++) {
    const passes = async (item: Item, answer: Answer, label: string, i: number) =>
      filter === null || (await filter(item, answer, createRandom(seed, 'filter', label, round, i)));
    const own = model === null ? [] : oneEach('generate', await generate(model, items, round), items.length);
    const isSolved = await Promise.all(own.map((answer, i) => passes(items[i]!, answer, 'own', i)));
    const synthetic = items.flatMap((item, i) => (isSolved[i] ? [{ item, answer: own[i]! }] : []));
    const random = createRandom(seed, 'weak', round);
    const unsolved = items.filter((_, i) => !isSolved[i]);
    const asked = random.shuffled(focus ? unsolved : items).slice(0, perRound);
    const answers = asked.length === 0 ? [] : oneEach('weak', await weak(asked, random), asked.length);
    const good = await Promise.all(asked.map((item, i) => passes(item, answers[i]!, 'weak', i)));
    const added = asked.flatMap((item, i) => (good[i] ? [{ item, answer: answers[i]! }] : []));
    kept.push(...added);
    model = await train([...kept, ...synthetic], round);
    done.push({
      model,
      synthetic: synthetic.length,
      weak: added.length,
      ...(evaluate && { value: await evaluate(model) }),
    });
  }
  return done;
}

function oneEach<T>(who: string, answers: readonly T[], count: number): readonly T[] {
  if (answers.length === count) return answers;
  throw new DataOptionError('weakBoosting', `${who} returned ${answers.length} answers for ${count} items.`);
}
