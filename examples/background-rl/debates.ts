// Two who debate and share a policy, paid for saying the same or for being right, where the policy begins with a prejudice.
import { Key } from '@posttrain/core-tensor';
import { CausalLM, ChatTemplate, NO_ADAPTER } from '@posttrain/lm';
import { createAdapter, lora } from '@posttrain/peft';
import { agreements, debate, environmentReward, multiAgent, policyObjectives, trainPolicies } from '@posttrain/rl';
import { sft } from '@posttrain/training';
import { modelOf } from './letters.js';

export const GROUNDINGS = [0, 0.5, 1] as const;
const QUESTIONS = ['a', 'b', 'c', 'd'];
/** What the policy likes to say, whatever is asked. */
const PREJUDICE = 'e';
const TEMPLATE = '{% for m in messages %}{{ m.content }}{% endfor %}';

export interface DebateCell {
  /** How often the two say the same in the last round: before, and after. */
  readonly agreed: readonly [number, number];
  /** How often what is said there is right. */
  readonly right: readonly [number, number];
  /** How often it is the prejudice. */
  readonly prejudiced: readonly [number, number];
}

/** Half of what it is shown is the prejudice, and a quarter is right. */
async function start(seed: number): Promise<CausalLM> {
  const first = await modelOf(seed);
  const shown = (question: string) => [PREJUDICE, PREJUDICE, question, 'f'];
  const rows = QUESTIONS.flatMap((question) => shown(question).map((completion) => ({ prompt: question, completion })));
  const { trainer } = await sft({ model: first, rows, steps: 30, batchSize: 16, learningRate: 0.01, seed });
  const { config, tokenizer, name, weights, network } = trainer.model;
  return new CausalLM(
    { config, tokenizer, name, weights, chatTemplate: new ChatTemplate(tokenizer, TEMPLATE) },
    network,
  );
}

export async function debates(grounding: (typeof GROUNDINGS)[number], seed: number): Promise<DebateCell> {
  const model = await start(seed);
  const rows = QUESTIONS.map((question) => ({ prompt: [{ role: 'user' as const, content: question }], question }));
  const world = debate<(typeof rows)[number]>({
    ...{ grounding, again: (others: readonly string[]) => others.join('') },
    grade: (text, row) => (text === (row as (typeof rows)[number]).question ? 1 : 0),
    answer: (text) => text,
  });
  const rollouts = multiAgent(world, { policies: { debater_1: 'both', debater_2: 'both' }, maxTurns: 4 });
  const adapter = await createAdapter(model, lora, { r: 8, targetModules: 'all-linear' }, { seed });
  const measured = async (policy: typeof adapter) => {
    const sampled = await rollouts.sample({
      ...{
        model,
        adapter: NO_ADAPTER,
        policies: { both: policy },
        rows,
        prompts: rows.map(() => []),
        completionsPerPrompt: 64,
      },
      ...{
        firstGroup: 0,
        sampling: { maxTokens: 1 },
        maxBatch: 64,
        packWeights: 'at-once',
        step: 0,
        key: Key.fromSeed(77 + seed),
      },
    });
    // Turns of an episode stand together: two of the first round, two of the last.
    const last = Array.from({ length: sampled.length / 4 }, (_, i) => sampled.slice(4 * i + 2, 4 * i + 4));
    const mean = (of: (pair: typeof sampled) => number) => last.reduce((sum, pair) => sum + of(pair) / last.length, 0);
    const share = (isIt: (text: string, question: string) => boolean) =>
      mean(
        (pair) =>
          pair.filter(({ text, row }) => isIt(text, (row as unknown as (typeof rows)[number]).question)).length / 2,
      );
    return {
      agreed: mean((pair) => agreements(pair.map(({ text }) => text))[0]!),
      right: share((text, question) => text === question),
      prejudiced: share((text) => text === PREJUDICE),
    };
  };
  const before = await measured(adapter);
  const { adapters } = await trainPolicies({
    ...{ model, rows, rollouts, rewards: { environment: environmentReward() } },
    policies: { both: { adapter, objective: policyObjectives.reinforce({ baseline: 'batch-mean' }) } },
    ...{ steps: 15, promptsPerStep: 4, completionsPerPrompt: 8, maxCompletionLength: 1, learningRate: 0.02, seed },
    schedule: 'constant',
  });
  const after = await measured(adapters.both!);
  return {
    agreed: [before.agreed, after.agreed],
    right: [before.right, after.right],
    prejudiced: [before.prejudiced, after.prejudiced],
  };
}
