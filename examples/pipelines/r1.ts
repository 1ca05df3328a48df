/** DeepSeek-R1 (arXiv 2501.12948) in small: Zero, cold start, reasoning RL, rejection sampling, a second RL, distillation. */
import { type AcceptedRow, pipeline, rejectionSampling } from '@posttrain/data';
import type { Verifier } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { functionVerifier } from '@posttrain/interfaces/verifiers';
import { type CausalLM, LocalGenerator, type SequenceClassifier } from '@posttrain/lm';
import type { Rewards } from '@posttrain/rl';
import {
  baseModel,
  corpus,
  GENERAL,
  isConsistent,
  isFormatted,
  isRight,
  LONGEST,
  measured,
  REASONING,
  reinforced,
  rewardModel,
  solution,
  type Task,
  tuned,
  wordPairs,
} from './world.js';

/** How long the stages are; the test's are shorter. */
export interface R1Sizes {
  /** Updates of a stage of RL. */
  readonly steps: number;
  /** Completions of each prompt that a stage is measured by. */
  readonly samples: number;
}
export const R1_SIZES: R1Sizes = { steps: 40, samples: 16 };

/** A number from 0 to 1 that a text always has and that says nothing of it. */
function noise(text: string, seed: number): number {
  return createRandom(seed, text).float();
}

const rules = { right: isRight, format: isFormatted, language: isConsistent };
/** What they count: the answer most. */
const weighted = (names: readonly (keyof typeof rules)[]): Rewards<Task> =>
  Object.fromEntries(names.map((name) => [name, { verifier: rules[name], weight: name === 'right' ? 2 : 1 }]));
const ALL = Object.keys(rules) as (keyof typeof rules)[];

/** The trained model of a smaller size. */
const SMALLER = { width: 16, layers: 1 };

/** Every stage beside the pipeline without it. */
export async function r1Arms(seed: number, { steps, samples }: R1Sizes = R1_SIZES) {
  const of = (model: CausalLM) => measured(model, seed, samples);
  const base = await baseModel(seed);
  const learn = (model: CausalLM, rewards: Rewards<Task>, more: object = {}) =>
    reinforced({ model, rows: REASONING, rewards, steps, seed, ...more });

  // Zero: RL from the base, by rules alone.
  const zero = await learn(base, weighted(['right', 'format']));
  const control = await learn(base, { noise: (text: string) => noise(text, seed) });

  // Cold start: few solutions that are right and have the form, in both scripts.
  const random = createRandom(seed, 'cold start');
  const few = Array.from({ length: 48 }, () => solution(random, { wrong: 0, formatted: 1, cyrillic: 0.5 }));
  const cold = await tuned(base, few, seed, { epochs: 3 });

  // Reasoning RL: all three rules, and each rule left out.
  const reasoning = await learn(cold, weighted(ALL));
  const without = async (name: keyof typeof rules) => learn(cold, weighted(ALL.filter((own) => own !== name)));

  // Rejection sampling: what the policy says and the rules accept, with general rows, into the base.
  const accepted = await sampled(reasoning.model, seed);
  const general = corpus(256, 50 + seed).filter(({ prompt }) => prompt.endsWith(';'));
  const mixed = (rows: typeof few) => tuned(base, [...rows, ...general], seed, { epochs: 12, learningRate: 5e-3 });
  const stageOne = await mixed(accepted);
  const raw = await mixed(await unfiltered(base, seed, accepted.length));

  // Second RL: prompts of both kinds, rules for the one and a reward model for the other.
  const judge = await rewardModel(base, wordPairs(320, seed), seed);
  const both = rewardsOfBoth(judge.model as SequenceClassifier);
  const second = await learn(stageOne, both, { rows: [...GENERAL, ...GENERAL, ...GENERAL, ...REASONING] });
  const rulesOnly = await learn(stageOne, weighted(ALL));

  // Distillation into a smaller model, beside RL of that size with as many tokens.
  const small = await baseModel(seed, SMALLER);
  const tokens = Number(reasoning.history.at(-1)!.metrics.num_tokens);
  const lessons = await sampled(second.model, seed + 200, tokens);
  const distilled = await tuned(small, lessons, seed, { learningRate: 5e-3 });
  const scratch = await learn(small, weighted(ALL));

  return {
    base: await of(base),
    zero: await of(zero.model),
    'zero, a random reward': await of(control.model),
    'cold start': await of(cold),
    'cold start, reasoning RL': await of(reasoning.model),
    'the same without right': await of((await without('right')).model),
    'the same without format': await of((await without('format')).model),
    'the same without language': await of((await without('language')).model),
    'reasoning RL without the cold start': await of((await learn(base, weighted(ALL))).model),
    'rejection sampling, SFT of the base': await of(stageOne),
    'the same without rejection': await of(raw),
    'second RL': await of(second.model),
    'second RL, rules alone': await of(rulesOnly.model),
    'smaller base': await of(small),
    'smaller, distilled': await of(distilled),
    'smaller, RL': await of(scratch.model),
  };
}

/** Solutions that the policy says and all rules accept, each with its provenance; of so many tokens where that is given. */
async function sampled(model: CausalLM, seed: number, tokens?: number): Promise<AcceptedRow<Task>[]> {
  const step = rejectionSampling<Task>({
    generator: new LocalGenerator(model),
    verifiers: Object.values(rules),
    samples: 16,
    sampling: { maxTokens: LONGEST, temperature: 1 },
  });
  const rows = await pipeline([...REASONING], [step], { seed }).collect();
  await verifyAgain(rows);
  if (tokens === undefined) return rows;
  // A row is read as often as tokens are left for.
  const lengths = rows.map(({ prompt, completion }) => model.tokenizer.encode(prompt + completion).length + 1);
  const read: AcceptedRow<Task>[] = [];
  for (let i = 0, left = tokens; left >= lengths[i % rows.length]!; i++) {
    read.push(rows[i % rows.length]!);
    left -= lengths[i % rows.length]!;
  }
  return read;
}

/** Every kept completion once more, by rules that have not seen it. @throws where one is not accepted */
async function verifyAgain(rows: readonly AcceptedRow<Task>[]): Promise<void> {
  for (const verifier of Object.values(rules)) {
    const verdicts = await verifier.verify(
      rows.map((row) => ({ prompt: row.prompt, completion: row.completion, row: row as never })),
    );
    const wrong = verdicts.findIndex(({ score }) => score !== 1);
    if (wrong >= 0) throw new Error(`row ${wrong} was kept, and ${verifier.name} does not accept it`);
  }
}

/** The same number of rows as the base model says them, whatever they are. */
async function unfiltered(model: CausalLM, seed: number, count: number) {
  const found = await new LocalGenerator(model).generate(
    REASONING.map(({ prompt }, i) => ({ prompt, n: 16, maxTokens: LONGEST, seed: 100_000 * seed + 7000 + 100 * i })),
  );
  const all = found.flatMap((own, i) => own.map(({ text }) => ({ prompt: REASONING[i]!.prompt, completion: text })));
  return Array.from({ length: count }, (_, i) => all[(i * 16 + Math.floor(i / REASONING.length)) % all.length]!).filter(
    ({ completion }) => completion !== '',
  );
}

/** Rules for prompts of reasoning, a reward model for the others. */
function rewardsOfBoth(judge: SequenceClassifier): Rewards<Task> {
  const only = (kind: Task['kind'], verifier: Verifier): Verifier => ({
    name: verifier.name,
    async verify(requests) {
      const places = requests.flatMap(({ row }, i) => ((row as unknown as Task).kind === kind ? [i] : []));
      const verdicts = await verifier.verify(places.map((i) => requests[i]!));
      return requests.map((_, i) => verdicts[places.indexOf(i)] ?? { score: null });
    },
  });
  const general = functionVerifier('short', ({ completion }) => Number(/^[a-h]*$/.test(completion)));
  return {
    right: { verifier: only('reasoning', isRight), weight: 2 },
    format: only('reasoning', isFormatted),
    language: only('reasoning', isConsistent),
    helpful: only('general', judge.verifier()),
    word: only('general', general),
  };
}
