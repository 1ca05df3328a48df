// MALT in small: a generator, a verifier and a refiner who say a letter each, trained on the rows that credit makes of their trees.
import { type CausalLM, LocalGenerator } from '@posttrain/lm';
import { dpo, type MaltPrompts, maltRows, maltTree, preferenceLosses } from '@posttrain/rl';
import { sft } from '@posttrain/training';
import { modelOf, noise } from './letters.js';

/** What is asked for is the letter that the question is. */
const QUESTIONS = ['a', 'b', 'c', 'd'];
const prompts: MaltPrompts = {
  generator: (question) => `${question}e`,
  verifier: (question, answer) => `${question}${answer}f`,
  refiner: (question, answer, critique) => `${question}${answer}${critique}g`,
};
const ROLES = ['generator', 'verifier', 'refiner'] as const;
const ROUNDS = 3;

/** The share of refined answers that are right: before, and after rounds of rows whose rewards are true or drawn. */
export async function malt(isControl: boolean, seed: number): Promise<readonly [number, number]> {
  let models = await Promise.all(ROLES.map((_, i) => modelOf(10 * seed + i)));
  const treesOf = async (round: number, branches: number, isTrue: boolean) => {
    const [generator, verifier, refiner] = models.map((model) => new LocalGenerator(model)) as [
      LocalGenerator,
      LocalGenerator,
      LocalGenerator,
    ];
    const right = (text: string, question: string) => (text === question ? 1 : 0);
    const drawn = (text: string, question: string) => (noise(text + question, 100 * seed + round) < 0.25 ? 1 : 0);
    return Promise.all(
      QUESTIONS.map((question, i) =>
        maltTree(question, {
          agents: { generator, verifier, refiner },
          ...{ reward: isTrue ? right : drawn, branches, prompts },
          ...{ sampling: { maxTokens: 1, temperature: 1 }, seed: 100_000 * round + 1000 * i + seed },
        }),
      ),
    );
  };
  const measured = async () => {
    const leaves = (await treesOf(99, 6, true)).flatMap(({ answers }) =>
      answers.flatMap(({ critiques }) =>
        critiques.flatMap(({ refinements }) => refinements.map(({ reward }) => reward)),
      ),
    );
    return leaves.reduce((a, b) => a + b, 0) / leaves.length;
  };
  const before = await measured();
  for (let round = 0; round < ROUNDS; round++) {
    const rows = maltRows(await treesOf(round, 4, !isControl), { prompts });
    const next: CausalLM[] = [];
    for (const [i, role] of ROLES.entries()) next.push(await trained(models[i]!, rows[role], role !== 'generator'));
    models = next;
  }
  return [before, await measured()];
}

/** As the paper trains a role: on what is right, and then, verifier and refiner, on pairs. */
async function trained(
  start: CausalLM,
  { sft: right, preferences }: ReturnType<typeof maltRows>['verifier'],
  hasPairs: boolean,
) {
  let model = start;
  const shared = { batchSize: 8, learningRate: 0.01, seed: 1 };
  // An answer is a letter: what would come behind it is not asked.
  if (right.length > 0) ({ model } = (await sft({ ...shared, model, rows: right, steps: 12 })).trainer);
  if (hasPairs && preferences.length > 0) {
    ({ model } = (
      await dpo({
        ...shared,
        model,
        rows: preferences,
        loss: preferenceLosses.sigmoid(),
        steps: 8,
        learningRate: 0.003,
      })
    ).trainer);
  }
  return model;
}
