// SeqGAN in small: a model that is the oracle, another that has been shown a few of its sequences, and a third that tells the two apart.
import { type CausalLM, LocalGenerator, SequenceClassifier, sequenceLogProbs } from '@posttrain/lm';
import { classifierDiscriminator, type Discriminator, policyObjectives, trainPolicy } from '@posttrain/rl';
import { type Metrics, negativeLogLikelihood, Trainer, type TrainingRow, update } from '@posttrain/training';
import { modelOf } from './letters.js';

const PROMPT = [0];
const LENGTH = 5;
const [SHOWN, PRETRAINING, STEPS] = [64, 30, 12];

const sampled = async (model: CausalLM, n: number, seed: number): Promise<number[][]> => {
  const [completions] = await new LocalGenerator(model).generate([
    { prompt: { tokenIds: PROMPT }, n, seed, maxTokens: LENGTH, temperature: 1 },
  ]);
  return completions!.map(({ tokenIds }) => [...tokenIds!]);
};

/** Nats a token of sequences under a model. */
async function nll(model: CausalLM, completions: readonly (readonly number[])[]): Promise<number> {
  const scored = await sequenceLogProbs(
    model,
    completions.map((tokens) => [...PROMPT, ...tokens]),
  );
  const all = scored.flatMap(({ logProbs }) => [...logProbs]);
  return -all.reduce((a, b) => a + b, 0) / all.length;
}

export interface SeqGanCell {
  /** NLL under the oracle of what the generator writes: after maximum likelihood, and after what followed. */
  readonly oracle: readonly [number, number];
  /** NLL under the generator of what the oracle writes. */
  readonly generator: readonly [number, number];
}

export const SEQGAN_ARMS = ['SeqGAN', 'labels by chance', 'maximum likelihood'] as const;

/** More of the same, of adversarial training, of one whose discriminator is told what is real by chance, or of maximum likelihood. */
export async function seqgan(arm: (typeof SEQGAN_ARMS)[number], seed: number): Promise<SeqGanCell> {
  const oracle = await modelOf(100 + seed, 0.5);
  const shown = await sampled(oracle, SHOWN, 7 * seed);
  const trainer = await Trainer.create(await modelOf(seed), { optimizer: 'adamw_torch' });
  const rows = shown.map(
    (tokens): TrainingRow => ({ tokens: [...PROMPT, ...tokens], weights: tokens.map(() => 1 / SHOWN) }),
  );
  for (let i = 0; i < PRETRAINING; i++) await update(trainer, rows, negativeLogLikelihood, 0.01);
  const before = trainer.model;
  const measured = async (model: CausalLM) => ({
    oracle: await nll(oracle, await sampled(model, 256, 1000 + seed)),
    generator: await nll(model, await sampled(oracle, 256, 2000 + seed)),
  });
  const start = await measured(before);
  let after = before;
  if (arm === 'maximum likelihood') {
    for (let i = 0; i < STEPS; i++) await update(trainer, rows, negativeLogLikelihood, 0.003);
    after = trainer.model;
  } else {
    const classifier = await SequenceClassifier.fromCausalLM(await modelOf(50 + seed));
    const told = await classifierDiscriminator(classifier, { learningRate: 0.01, iterationsPerBatch: 5 });
    const discriminator: Discriminator =
      arm === 'SeqGAN'
        ? told
        : {
            ...told,
            // Half of each kind is said to be real.
            learn: async (real, generated): Promise<Metrics> => {
              const half = (of: readonly (readonly number[])[], odd: number) => of.filter((_, i) => i % 2 === odd);
              return (
                (await told.learn!(
                  [...half(real, 0), ...half(generated, 0)],
                  [...half(real, 1), ...half(generated, 1)],
                )) ?? {}
              );
            },
          };
    const real = shown.map((completionTokens) => ({ promptTokens: PROMPT, completionTokens }));
    for (let i = 0; i < 10; i++) {
      const generated = await sampled(before, SHOWN, 3000 + 64 * i);
      await discriminator.learn!(
        real.map(({ completionTokens }) => [...PROMPT, ...completionTokens]),
        generated.map((tokens) => [...PROMPT, ...tokens]),
      );
    }
    const result = await trainPolicy({
      ...{ model: before, rows: [{ prompt: 'a' }], rewards: { none: () => 0 } },
      objective: policyObjectives.seqgan({ discriminator, real, rollouts: 4, baseline: 'position-mean' }),
      ...{ steps: STEPS, promptsPerStep: 1, completionsPerPrompt: 32, maxCompletionLength: LENGTH, seed },
      ...{ learningRate: 0.003, schedule: 'constant' },
    });
    after = result.trainer.model;
  }
  const end = await measured(after);
  return { oracle: [start.oracle, end.oracle], generator: [start.generator, end.generator] };
}
