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

/** Calls of a tree of four branches: answers, critiques of each, refinements of each. Updates of a round: those of the three roles. */
const [CALLS, UPDATES] = [4 + 4 ** 2 + 4 ** 3, 12 + 2 * (12 + 8)];

/**
 * The generator alone, at equal calls: it learns from its own right answers of as many samples in as many updates, and answers by the majority of three samples,
 * as a refined answer is three calls. The share that is right: before, and after.
 */
export async function singleAgent(seed: number): Promise<readonly [number, number]> {
  let model = await modelOf(10 * seed);
  const sampled = async (round: number, n: number) => {
    const requests = QUESTIONS.map((question, i) => ({
      ...{ prompt: prompts.generator(question), maxTokens: 1, temperature: 1, n },
      seed: 100_000 * round + 1000 * i + seed,
    }));
    const all = await new LocalGenerator(model).generate(requests);
    return all.map((completions) => completions.map(({ text }) => text));
  };
  const measured = async () => {
    const votes = 216;
    const all = await sampled(99, 3 * votes);
    const isRight = QUESTIONS.flatMap((question, i) =>
      Array.from({ length: votes }, (_, v) => {
        const [a, b, c] = all[i]!.slice(3 * v, 3 * v + 3);
        // Of three that differ the first.
        return Number((b === c ? b : a) === question);
      }),
    );
    return isRight.reduce((a, b) => a + b, 0) / isRight.length;
  };
  const before = await measured();
  for (let round = 0; round < ROUNDS; round++) {
    const all = await sampled(round, CALLS);
    const rows = QUESTIONS.flatMap((question, i) =>
      all[i]!.filter((text) => text === question).map((completion) => ({
        prompt: prompts.generator(question),
        completion,
      })),
    );
    if (rows.length === 0) continue;
    ({ model } = (await sft({ model, rows, steps: UPDATES, batchSize: 8, learningRate: 0.01, seed: 1 })).trainer);
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
