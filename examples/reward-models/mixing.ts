/** Answers in one language: what the reward of language consistency does to a policy that mixes two scripts. */
import { createRandom } from '@posttrain/interfaces/random';
import { functionVerifier, languageConsistency } from '@posttrain/interfaces/verifiers';
import { type CausalLM, LocalGenerator } from '@posttrain/lm';
import { policyObjectives, type Rewards, trainPolicy } from '@posttrain/rl';
import { sft } from '@posttrain/training';
import { type Chain, chains, quiet, smallModel } from './small.js';

/** How long a policy learns. */
export interface MixingSizes {
  readonly steps: number;
  readonly samples: number;
}
export const MIXING_SIZES: MixingSizes = { steps: 20, samples: 192 };

/** The letters of the ring, and what they are in the other script. */
const LATIN = 'abcdefgh';
const CYRILLIC = 'абцдефгх';
const inLatin = (text: string) => [...text].map((one) => LATIN[[...CYRILLIC].indexOf(one)] ?? one).join('');
const textOf = (steps: readonly string[]): string => steps.map((step) => `${step}\n`).join('');

/** A policy that has read solutions, half of them wrong, of which each step is written in either script. */
async function mixer(seed: number): Promise<CausalLM> {
  const random = createRandom(seed, 'scripts');
  const written = ({ steps }: Chain) =>
    textOf(steps.map((step) => (random.float() < 0.5 ? step : CYRILLIC[LATIN.indexOf(step)]!)));
  const { trainer } = await sft({
    ...{ ...quiet, seed, epochs: 3, learningRate: 5e-3, model: await smallModel(seed, CYRILLIC) },
    rows: chains(480, 0.5, seed).map((one) => ({ prompt: one.prompt, completion: written(one) })),
  });
  return trainer.model as CausalLM;
}

const RIGHT = new Map(chains(200, 0, 99).map(({ prompt, steps }) => [prompt, textOf(steps)]));
/** Whether the letters are right, in whichever script. */
const right = functionVerifier('right', ({ prompt, completion }) =>
  Number(inLatin(completion) === RIGHT.get(prompt as string)),
);
const consistent = languageConsistency({ scripts: ['Latin'] });

/** Share of right solutions, and of words in the other script, behind GRPO from the outcome, and from it with language consistency. */
export async function mixingArms(seed: number, { steps, samples }: MixingSizes = MIXING_SIZES) {
  const model = await mixer(seed);
  const prompts = [...RIGHT.keys()];
  const measured = async (policy: CausalLM) => {
    const n = Math.ceil(samples / prompts.length);
    const found = await new LocalGenerator(policy).generate(
      prompts.map((prompt, i) => ({ prompt, n, maxTokens: 12, temperature: 1, seed: 100 * seed + i })),
    );
    const asked = found.flatMap((all, i) => all.map(({ text }) => ({ prompt: prompts[i]!, completion: text })));
    const mean = async (verifier: typeof consistent) => {
      const scores = (await verifier.verify(asked)).map(({ score }) => score!);
      return scores.reduce((a, b) => a + b, 0) / scores.length;
    };
    return { right: await mean(right), mixed: 1 - (await mean(consistent)) };
  };
  const arm = async (rewards: Rewards<{ prompt: string }>) => {
    const { trainer } = await trainPolicy({
      ...{ model, rows: prompts.map((prompt) => ({ prompt })), rewards, seed, steps, learningRate: 2e-3 },
      ...{ objective: policyObjectives.grpo({ beta: 0.02 }), promptsPerStep: 4, completionsPerPrompt: 8 },
      ...({ schedule: 'constant', loggingSteps: 1000, maxCompletionLength: 12, onWarning: () => {} } as const),
    });
    return measured(trainer.model as CausalLM);
  };
  return {
    'the policy before': await measured(model),
    outcome: await arm({ right }),
    'outcome and language consistency': await arm({ right, consistent }),
  };
}
