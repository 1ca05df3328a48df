/** Studies of labels, of preferences and of secrets: each gives the numbers of its arms for one seed. */
import {
  type Annotated,
  activeLearning,
  findLabelErrors,
  pipeline,
  type RatedRow,
  ratedPairs,
  scrubPii,
  stoppingRules,
  uncertaintyMeasures,
} from '@posttrain/data';
import { canaryExposure } from '@posttrain/eval';
import { candidateScorer, type Verifier } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { type CausalLM, LocalScorer, SequenceClassifier } from '@posttrain/lm';
import { rewardModelLosses, trainRewardModel } from '@posttrain/training';
import { answersOf, lossOn, mean, smallModel, tune } from '../sft/small.js';
import { type Arms, highest, language, lettersOfKinds, type Scale } from './rows.js';

/** Which of two letters is better, by an order that a person knows: pairs at random, or those that the reward model is least sure of. */
export async function preferences(seed: number, scale: Scale): Promise<Arms> {
  const random = createRandom(seed, 'order');
  const letters = random.shuffled([...'abcdefghijklmnop']);
  const pairs = letters.flatMap((a, i) => letters.slice(i + 1).map((b) => (random.float() < 0.5 ? [a, b] : [b, a])));
  const pool = pairs.map((completions): { prompt: string; completions: string[] } => ({ prompt: '?', completions }));
  type Pair = (typeof pool)[number];
  const scoresOf = async (reward: Verifier, rows: readonly Pair[]) => {
    const scored = await reward.verify(letters.map((completion) => ({ prompt: '?', completion })));
    const of = new Map(letters.map((letter, i) => [letter, scored[i]!.score!]));
    return rows.map(({ completions: [a, b] }) => of.get(a!)! - of.get(b!)!);
  };
  const run = async (isActive: boolean) => {
    const { rounds } = await activeLearning<Pair, readonly number[], Verifier>({
      ...{ pool, batch: 8, seed },
      train: async (labelled: readonly Annotated<Pair, readonly number[]>[]) => {
        const rated = labelled.map(({ row, label }): RatedRow => ({ ...row, ratings: label as number[] }));
        const rows = await pipeline(rated, [ratedPairs()]).collect();
        const { trainer } = await trainRewardModel({
          model: await SequenceClassifier.fromCausalLM(await smallModel(seed), { labels: 1, seed }),
          rows: rows.map(({ prompt, chosen, rejected }) => ({ prompt, chosen, rejected })),
          loss: rewardModelLosses.bradleyTerry(),
          ...{ steps: scale(60), batchSize: 8, learningRate: 3e-3, seed, onWarning: () => {} },
        });
        return (trainer.model as SequenceClassifier).verifier();
      },
      select: async (reward, left, count, round) =>
        isActive
          ? highest(
              (await scoresOf(reward, left)).map((margin) => -Math.abs(margin)),
              count,
              seed,
              round,
            )
          : [...left.keys()].slice(0, count),
      annotate: {
        human: async (rows) => rows.map(({ completions }) => completions.map((one) => -letters.indexOf(one))),
      },
      stop: [stoppingRules.budget({ labels: 40 })],
      evaluate: async (reward) => {
        const margins = await scoresOf(reward, pool);
        return mean(
          pool.map(({ completions: [a, b] }, i) =>
            Number(margins[i]! > 0 === letters.indexOf(a!) < letters.indexOf(b!)),
          ),
        );
      },
    });
    return Object.fromEntries(rounds.map(({ labelled, value }) => [`right at ${labelled}`, value!]));
  };
  return { 'control: at random': await run(false), 'least sure': await run(true) };
}

const CANDIDATES = ['x', 'y'];
const sureness = (model: CausalLM, prompts: readonly string[]) =>
  candidateScorer(new LocalScorer(model)).distributions(prompts.map((prompt) => ({ prompt, candidates: CANDIDATES })));

/** What a teacher answers, is learnt by a student: of prompts at random, or of those that the student is least sure of. */
export async function distillation(seed: number, scale: Scale): Promise<Arms> {
  const { kindOf, pool, held } = lettersOfKinds(seed);
  const all = [...new Set([...pool, ...held])].map((prompt) => ({ prompt, completion: kindOf(prompt) }));
  const teacher = (await tune({ model: await smallModel(seed + 50), rows: all, steps: scale(400), seed })).trainer
    .model;
  const wanted = await answersOf(teacher, held, 1);
  const run = async (isActive: boolean) => {
    const { rounds } = await activeLearning<string, string, CausalLM>({
      ...{ pool, batch: 12, seed },
      train: async (labelled) => {
        const rows = labelled.map(({ row, label }) => ({ prompt: row, completion: label }));
        return (await tune({ model: await smallModel(seed), rows, steps: scale(60), seed })).trainer.model;
      },
      select: async (model, left, count, round) => {
        if (!isActive) return [...left.keys()].slice(0, count);
        const found = await sureness(model, left);
        return highest(
          found.map(({ probabilities }) => uncertaintyMeasures.entropy([probabilities])),
          count,
          seed,
          round,
        );
      },
      annotate: {
        model: async (prompts) =>
          (await answersOf(teacher, prompts, 1)).map((label) => ({ label, confidence: 1, tokens: 1 })),
      },
      stop: [stoppingRules.budget({ labels: 60 })],
      evaluate: async (model) => {
        const found = await sureness(model, held);
        return mean(found.map(({ probabilities: [x, y] }, i) => Number(CANDIDATES[Number(y! > x!)] === wanted[i])));
      },
    });
    return Object.fromEntries(rounds.map(({ labelled, value }) => [`as the teacher at ${labelled}`, value!]));
  };
  return { 'control: at random': await run(false), 'highest entropy': await run(true) };
}

/** A fifth of the labels is wrong: found by models that have not seen them, four folds, and left out. */
export async function labelErrors(seed: number, scale: Scale): Promise<Arms> {
  const { kindOf, pool, held } = lettersOfKinds(seed);
  const random = createRandom(seed, 'noise');
  const isWrong = pool.map(() => random.float() < 0.2);
  const labels = pool.map((prompt, i) => Number((kindOf(prompt) === 'y') !== isWrong[i]));
  const learnt = async (indices: readonly number[]) => {
    const rows = indices.map((i) => ({ prompt: pool[i]!, completion: CANDIDATES[labels[i]!]! }));
    return (await tune({ model: await smallModel(seed), rows, steps: scale(60), seed })).trainer.model;
  };
  const everything = [...pool.keys()];
  const unseen: (readonly number[])[] = [];
  const FOLDS = 4;
  for (let fold = 0; fold < FOLDS; fold++) {
    const own = everything.filter((i) => i % FOLDS === fold);
    const model = await learnt(everything.filter((i) => i % FOLDS !== fold));
    const found = await sureness(
      model,
      own.map((i) => pool[i]!),
    );
    own.forEach((i, at) => {
      unseen[i] = found[at]!.probabilities;
    });
  }
  const suspects = new Set(findLabelErrors(labels, unseen));
  const chance = new Set(random.shuffled(everything).slice(0, suspects.size));
  const arms: Record<string, Record<string, number>> = {};
  for (const [name, out] of [
    ['control: all rows', new Set<number>()],
    ['without as many at random', chance],
    ['without label errors', suspects],
  ] as const) {
    const kept = everything.filter((i) => !out.has(i));
    const found = await sureness(await learnt(kept), held);
    arms[name] = {
      right: mean(
        found.map(({ probabilities: [x, y] }, i) => Number(CANDIDATES[Number(y! > x!)] === kindOf(held[i]!))),
      ),
      'wrong labels left': mean(kept.map((i) => Number(isWrong[i]))),
      'rows left': kept.length,
    };
  }
  return arms;
}

/** Addresses that came four times in the texts: what a model gives away of them, with and without `scrubPii`. */
export async function canaries(seed: number, scale: Scale): Promise<Arms> {
  const random = createRandom(seed, 'addresses');
  const address = () => `${Array.from({ length: 4 }, () => random.pick([...'abcdefghijkl'])).join('')}@mail.org`;
  const all = new Set<string>();
  while (all.size < 264) all.add(address());
  const [planted, others] = [[...all].slice(0, 8), [...all].slice(8)];
  const draw = language('own', seed);
  const plain = draw(160, 'plain').map(({ text }) => ({ text }));
  const withAddress = draw(32, 'with').map(({ text }, i) => ({ text: `${text.slice(0, 20)} to ${planted[i % 8]}` }));
  const held = draw(64, 'held').map(({ text }) => ({ text }));
  const rows = random.shuffled([...plain, ...withAddress]);
  const scrubbed = await pipeline(rows, [scrubPii<{ text: string }>({ emailReplacements: ['[EMAIL]'] })]).collect();
  const arms: Record<string, Record<string, number>> = {};
  for (const [name, given] of [
    ['control: as it comes', rows],
    ['scrubbed', scrubbed.map(({ text }) => ({ text }))],
  ] as const) {
    const { trainer } = await tune({ model: await smallModel(seed), rows: [...given], steps: scale(200), seed });
    const scorer = new LocalScorer(trainer.model);
    const scored = await scorer.score(
      [...planted, ...others].map((continuation) => ({ prompt: 'a b c to ', continuation })),
    );
    const losses = scored.map(({ logProb }) => -logProb);
    arms[name] = {
      'exposure in bits': mean(canaryExposure(losses.slice(0, 8), losses.slice(8))),
      'held-out loss': await lossOn(trainer.model, held),
    };
  }
  return arms;
}
