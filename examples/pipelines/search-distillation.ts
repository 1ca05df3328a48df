/** Search that teaches: a tree of rollouts for GRPO, and search by a process reward model whose winners are distilled. */
import { mathShepherd, pipeline } from '@posttrain/data';
import type { Verifier } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { functionVerifier } from '@posttrain/interfaces/verifiers';
import { type CausalLM, LocalGenerator, LocalScorer, TokenClassifier } from '@posttrain/lm';
import { policyObjectives, treeRollouts } from '@posttrain/rl';
import { rewardModelLosses, trainRewardModel } from '@posttrain/training';
import { stepBeamSearch } from '@posttrain/tts';
import { quiet } from '../reward-models/small.js';
import { baseModel, isRight, LONGEST, meanOf, REASONING, reinforced, said, tuned } from './world.js';

/** How long a policy learns. */
export interface SearchSizes {
  readonly steps: number;
  readonly samples: number;
}
export const SEARCH_SIZES: SearchSizes = { steps: 24, samples: 16 };

const sampling = { maxTokens: LONGEST, temperature: 1 };

/** A process reward model of the policy's own solutions, labelled by rollouts; and what its labels have cost in tokens. */
async function stepJudge(policy: CausalLM, seed: number): Promise<{ judge: Verifier; tokens: number }> {
  const texts = await said(policy, REASONING, 8, seed + 300);
  const rows = texts
    .map(({ row, text }) => ({ ...row, completions: text.split('\n').filter((line) => line !== '') }))
    .filter(({ completions }) => completions.length > 1);
  const generator = new LocalGenerator(policy);
  const counted = {
    name: generator.name,
    tokens: 0,
    generate: async (...asked: Parameters<typeof generator.generate>) => {
      const found = await generator.generate(...asked);
      counted.tokens += found.flat().reduce((sum, { usage }) => sum + usage.completionTokens, 0);
      return found;
    },
  };
  const shepherd = mathShepherd({
    ...{ generator: counted, verifier: isRight, rollouts: 4, sampling, concurrency: 64 },
  });
  const labelled = await pipeline(rows, [shepherd], { seed }).collect();
  const { trainer } = await trainRewardModel({
    ...{ ...quiet, seed, epochs: 4, learningRate: 3e-3, loss: rewardModelLosses.process() },
    rows: labelled.map(({ prompt, completions, labels }) => ({ prompt, completions, labels })),
    model: await TokenClassifier.fromCausalLM(policy),
  });
  const judge = (trainer.model as TokenClassifier).verifier({ stepTag: '\n', stepDelimiter: '\n' });
  return { judge, tokens: counted.tokens };
}

/** The policy that has learnt from winners of its own search, round by round, until so many tokens are spent. */
async function distilled(policy: CausalLM, seed: number, budget: number, judgeOf: typeof stepJudge): Promise<CausalLM> {
  let [model, spent] = [policy, 0];
  for (let round = 0; spent < budget; round++) {
    const { judge, tokens } = await judgeOf(model, seed + 10 * round);
    spent += tokens;
    const generator = new LocalGenerator(model);
    const winners: { prompt: string; completion: string }[] = [];
    for (const [i, { prompt }] of REASONING.entries()) {
      const found = await stepBeamSearch(
        { prompt },
        {
          ...{ generator, verifier: judge, n: 4, beamWidth: 2, stop: ['\n'], maxSteps: 6 },
          sampling: { temperature: 1, seed: 1000 * seed + 100 * round + i, maxTokens: 4 },
        },
      );
      winners.push({ prompt, completion: found.text });
      spent += found.trace.spent.completionTokens;
    }
    model = await tuned(
      model,
      winners.filter(({ completion }) => completion !== ''),
      seed,
      { epochs: 4, learningRate: 2e-3 },
    );
    if (round > 20) throw new Error('search spends no tokens');
  }
  return model;
}

/** Every arm at one number of sampled tokens. */
export async function searchArms(seed: number, { steps, samples }: SearchSizes = SEARCH_SIZES) {
  const base = await baseModel(seed);
  const newline = base.tokenizer.encode('\n')[0]!;
  const measured = async (model: CausalLM) => {
    const texts = (await said(model, REASONING, samples, seed)).filter(({ text }) => text !== '');
    const asked = texts.map(({ row, text }) => ({ prompt: row.prompt, completion: text, row: row as never }));
    const scores = await new LocalScorer(base).score(
      texts.map(({ row, text }) => ({ prompt: row.prompt, continuation: text })),
    );
    const nats = scores.reduce((sum, { logProb }) => sum - logProb, 0);
    return {
      right: meanOf((await isRight.verify(asked)).map(({ score }) => score!)),
      // Of what it says, under the base model: how far from fluent it has become.
      perplexity: Math.exp(nats / scores.reduce((sum, { tokens }) => sum + tokens, 0)),
    };
  };
  const grpo = policyObjectives.grpo({ beta: 0.02 });
  const learn = (model: CausalLM, count: number, more: object = {}) =>
    reinforced({ model, rows: REASONING, rewards: { isRight }, steps: count, seed, objective: grpo, ...more });
  const flat = await learn(base, steps);
  const tree = await learn(base, steps, {
    completionsPerPrompt: 4,
    objective: {
      ...grpo,
      annotators: [
        treeRollouts({
          stepTokens: [newline],
          expansions: 4,
          width: 2,
          exploration: 0.5,
          isOpen: (value) => value < 1,
        }),
      ],
    },
  });
  const budget = Number(flat.history.at(-1)!.metrics.num_tokens);
  const random = createRandom(seed, 'chance');
  const chance: typeof stepJudge = async (...given) => ({
    judge: functionVerifier('chance', () => random.float()),
    tokens: (await stepJudge(...given)).tokens,
  });
  const half = await distilled(base, seed, budget / 2, stepJudge);
  return {
    base: await measured(base),
    'GRPO, flat': await measured(flat.model),
    'GRPO over a tree': await measured(tree.model),
    'search and distillation': await measured(await distilled(base, seed, budget, stepJudge)),
    'search by chance and distillation': await measured(await distilled(base, seed, budget, chance)),
    'distilled start, then GRPO': await measured((await learn(half, Math.round(steps / 2))).model),
  };
}
