import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isPosttrainError, type OptionShape, type Verifier, type VerifyRequest } from '@posttrain/interfaces';
import { createAdapter, lora, withAdapterParameters } from '@posttrain/peft';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  clip,
  type DpoOptions,
  dpo,
  entropyBonus,
  formatTags,
  lengthPenalty,
  noBaseline,
  numericMatch,
  type PolicyTrainingOptions,
  type PromptRow,
  policyObjectives,
  preferenceLosses,
  scoreCompletions,
  singleTurn,
  tokenMean,
  trainPolicy,
  trDpo,
} from '../src/index.js';
import { dpoOptions } from '../src/training/dpo-options.js';
import { policyOptions } from '../src/training/policy-options.js';
import { prompts as topics, toyModel } from './toy.js';

/** With columns of numbers, which a numeric reward can score. */
const prompts = topics.map((row, i) => ({ ...row, topic: String(i), other: String(i) }));

const SAME = 'given again';
type Changes = Readonly<Record<string, readonly (readonly [() => Promise<object> | object, RegExp])[]>>;

let folder: string;
const model = toyModel(1);
const adapterWith = async (config: object = {}) =>
  createAdapter(await model, lora, { r: 2, targetModules: 'all-linear', ...config }, { seed: 3 });
const otherReference = async (factor: number) => {
  const adapter = await adapterWith();
  const parameters = Object.fromEntries(Object.entries(adapter.parameters).map(([name, p]) => [name, p.add(factor)]));
  return { reference: withAdapterParameters(adapter, parameters) };
};
const warnings: string[] = [];
const onWarning = (message: string) => warnings.push(message);

type PolicyOptions = PolicyTrainingOptions<PromptRow>;
const reward = (text: string) => text.length;
/** A reward model, as far as a run can see. */
class Model implements Verifier {
  constructor(readonly name: string) {}
  verify = async (requests: readonly VerifyRequest[]) => requests.map(() => ({ score: 1 }));
}
const policy = async (options: Partial<PolicyOptions> = {}) =>
  trainPolicy<PromptRow>({
    model: await model,
    adapter: await adapterWith(),
    rows: prompts,
    objective: policyObjectives.grpo({ beta: 0.1 }),
    rewards: { length: reward, match: { verifier: numericMatch({ column: 'topic' }), weight: 0.5 } },
    ...{ steps: 1, promptsPerStep: 2, completionsPerPrompt: 2, maxCompletionLength: 3, learningRate: 0.01, onWarning },
    ...options,
  });

const pairs = ['a', 'b', 'd'].map((letter) => ({ prompt: `${letter}ab`, chosen: 'cc', rejected: letter.repeat(2) }));
const preferences = async (options: Partial<DpoOptions> = {}) =>
  dpo({ model: await model, adapter: await adapterWith(), rows: pairs, learningRate: 0.01, onWarning, ...options });

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'identity-'));
  await policy({ outputFolder: join(folder, 'policy') });
  await preferences({ outputFolder: join(folder, 'dpo') });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const evaluated = { evaluate: () => ({ loss: 1 }), bestMetric: 'loss' };
const shared: Changes = {
  adapter: [[async () => ({ adapter: await adapterWith({ r: 4 }) }), /adapter.r was 2 and is 4/]],
  optimizer: [[() => ({ optimizer: 'sgd' }), /optimizer was adamw and is sgd/]],
  weightDecay: [[() => ({ weightDecay: 0.1 }), /optimizer.weightDecay was 0 and is 0.1/]],
  schedule: [[() => ({ schedule: 'cosine' }), /schedule was linear and is cosine/]],
  scheduleSettings: [
    [
      () => ({ schedule: 'cosine', scheduleSettings: { minimum: 0.1 }, allowChanged: ['schedule'] }),
      /scheduleSettings.minimum was not given and is 0.1/,
    ],
  ],
  warmupSteps: [[() => ({ warmupSteps: 1 }), /warmupSteps was 0 and is 1/]],
  maxGradNorm: [[() => ({ maxGradNorm: 0 }), /maxGradNorm was 1 and is 0/]],
  fp16: [[() => ({ fp16: true }), /fp16 was false and is true/]],
  lossScaling: [[() => ({ lossScaling: { initialScale: 2 } }), /lossScaling.initialScale was not given and is 2/]],
  seed: [[() => ({ seed: 1 }), /seed was 42 and is 1/]],
  learningRate: [[() => ({ learningRate: 0.02 }), /learningRate was 0.01 and is 0.02/]],
  keepBest: [[() => ({ ...evaluated, keepBest: true }), /keepBest was not given and is true/]],
  bestMetric: [[() => evaluated, /bestMetric was not given and is loss/]],
  bestMode: [[() => ({ ...evaluated, bestMode: 'max' }), /bestMode was not given and is max/]],
  patience: [[() => ({ ...evaluated, patience: 2 }), /patience was not given and is 2/]],
  minDelta: [[() => ({ ...evaluated, minDelta: 0.1 }), /minDelta was not given and is 0.1/]],
  // Beside the declared options.
  model: [[async () => ({ model: await toyModel(2) }), /model.weights was \w+ and is \w+/]],
  reference: [
    [
      async () => otherReference(0),
      /reference was the base model and is not given; .*reference.r was not given and is 2/,
    ],
  ],
};

const grpo = policyObjectives.grpo({ beta: 0.1 });
const ofPolicy: Changes = {
  ...shared,
  rows: [
    [() => ({ rows: prompts.toReversed() }), /rows was \w+ and is \w+/],
    [() => ({ rows: prompts.map((row) => ({ ...row, topic: '9' })) }), /rows was \w+ and is \w+/],
    [() => ({ rows: { name: 'own', settings: { seed: 3 }, next: () => [] } }), /rows was \w+ and is own/],
  ],
  objective: [
    [() => ({ objective: policyObjectives.dapo({ beta: 0.1 }) }), /objective was grpo and is dapo/],
    [() => ({ objective: policyObjectives.grpo({ beta: 0.2 }) }), /objective.regularisers.0.beta was 0.1 and is 0.2/],
    [() => ({ objective: policyObjectives.grpo() }), /objective.regularisers.0 was kl-in-loss\(k3\) and is not given/],
    [
      () => ({ objective: { ...grpo, surrogate: clip({ epsilon: 0.5 }) } }),
      /objective.surrogate.epsilon was 0.2 and is 0.5/,
    ],
    [
      () => ({ objective: { ...grpo, advantage: noBaseline() } }),
      /objective.advantage was group-normalized\(group\) and is no-baseline/,
    ],
    [
      () => ({ objective: { ...grpo, aggregation: tokenMean() } }),
      /objective.aggregation was sequence-mean and is token-mean/,
    ],
    [
      () => ({ objective: { ...grpo, regularisers: [...grpo.regularisers!, entropyBonus({ entropyCoef: 1 })] } }),
      /objective.regularisers.1 was not given and is entropy-bonus/,
    ],
    // Parts of one's own are their source text.
    [
      () => ({ objective: { ...grpo, aggregation: { name: 'own', weights: () => [1] } } }),
      /objective.aggregation was sequence-mean and is own; .*objective.aggregation.weights was not given and is weights [0-9a-f]{14}/,
    ],
  ],
  rewards: [
    [() => ({ rewards: { length: reward } }), /rewards.match.reward was numericMatch and is not given/],
    [
      () => ({ rewards: { length: reward, match: { verifier: numericMatch({ column: 'topic' }), weight: 1 } } }),
      /rewards.match.weight was 0.5 and is 1/,
    ],
    [
      () => ({ rewards: { length: reward, match: { verifier: numericMatch({ column: 'other' }), weight: 0.5 } } }),
      /rewards.match.reward.column was topic and is other/,
    ],
    [
      () => ({
        rewards: {
          length: (text: string) => text.length + 1,
          match: { verifier: numericMatch({ column: 'topic' }), weight: 0.5 },
        },
      }),
      /rewards.length.reward was reward \w+ and is length \w+/,
    ],
    [
      () => ({
        rewards: {
          length: { verifier: lengthPenalty({ maxCompletionLength: 9 }), weight: 1 },
          match: { verifier: numericMatch({ column: 'topic' }), weight: 0.5 },
        },
      }),
      /rewards.length.reward.maxCompletionLength was not given and is 9/,
    ],
    [
      () => ({
        rewards: { length: new Model('rm-2'), match: { verifier: numericMatch({ column: 'topic' }), weight: 0.5 } },
      }),
      /rewards.length.reward was reward \w+ and is Model rm-2/,
    ],
  ],
  rollouts: [
    [() => ({ rollouts: { ...singleTurn(), name: 'own' } }), /rollouts was not given and is own/],
    [
      () => ({ rollouts: { ...singleTurn(), settings: { maxTurns: 2 } } }),
      /rollouts was not given and is single-turn; rollouts.maxTurns was not given and is 2/,
    ],
  ],
  steps: [[() => ({ steps: 2 }), /steps was 1 and is 2/]],
  promptsPerStep: [[() => ({ promptsPerStep: 3 }), /promptsPerStep was 2 and is 3/]],
  completionsPerPrompt: [[() => ({ completionsPerPrompt: 3 }), /completionsPerPrompt was 2 and is 3/]],
  iterationsPerBatch: [[() => ({ iterationsPerBatch: 2 }), /iterationsPerBatch was 1 and is 2/]],
  oldLogProbs: [[() => ({ oldLogProbs: 'recomputed' }), /oldLogProbs was sampler and is recomputed/]],
  maxCompletionLength: [[() => ({ maxCompletionLength: 4 }), /maxCompletionLength was 3 and is 4/]],
  maskTruncatedCompletions: [
    [() => ({ maskTruncatedCompletions: true }), /maskTruncatedCompletions was false and is true/],
  ],
  dynamicSampling: [
    [() => ({ dynamicSampling: { maxRounds: 2 } }), /dynamicSampling.maxRounds was not given and is 2/],
  ],
  maxStaleness: [
    [
      () => ({ maxStaleness: 1, rollouts: { ...singleTurn(), sampleAhead: async () => async () => [] } }),
      /maxStaleness was 0 and is 1/,
    ],
  ],
  temperature: [[() => ({ temperature: 0.9 }), /temperature was 1 and is 0.9/]],
  topK: [[() => ({ topK: 3 }), /topK was not given and is 3/]],
  topP: [[() => ({ topP: 0.9 }), /topP was not given and is 0.9/]],
  minP: [[() => ({ minP: 0.1 }), /minP was not given and is 0.1/]],
  repetitionPenalty: [[() => ({ repetitionPenalty: 1.1 }), /repetitionPenalty was not given and is 1.1/]],
  stop: [[() => ({ stop: ['a'] }), /stop was not given and is \["a"\]/]],
};

const ofDpo: Changes = {
  ...shared,
  rows: [[() => ({ rows: pairs.toReversed() }), /rows was \w+ and is \w+/]],
  loss: [[() => ({ loss: preferenceLosses.sigmoid({ beta: 0.2 }) }), /loss.beta was 0.1 and is 0.2/]],
  referenceUpdate: [[() => ({ referenceUpdate: trDpo() }), /referenceUpdate/]],
  epochs: [[() => ({ epochs: 2 }), /epochs was 1 and is 2/]],
  steps: [[() => ({ steps: 2 }), /steps was not given and is 2/]],
  batchSize: [[() => ({ batchSize: 2 }), /batchSize was 8 and is 2/]],
  maxLength: [[() => ({ maxLength: 9 }), /maxLength was 1024 and is 9/]],
};

describe.each([
  ['policy', policyOptions.shape as OptionShape, ofPolicy, policy],
  ['dpo', dpoOptions.shape as OptionShape, ofDpo, preferences],
] as const)('the identity of a run of %s', (name, shape, changes, run) => {
  it('has a case for every option that is declared to decide the result', () => {
    const decisive = Object.entries(shape).flatMap(([option, { decisive: isDecisive }]) =>
      isDecisive ? [option] : [],
    );
    expect(Object.keys(changes).sort()).toEqual([...new Set([...decisive, 'model', 'reference', 'rows'])].sort());
  });

  const cases = Object.entries(changes).flatMap(([option, list]) =>
    list.map((change, i) => [option, i, ...change] as const),
  );
  it.each(cases)('refuses another %s (%i), naming both values', async (_, __, change, message) => {
    const options = { outputFolder: join(folder, name), resume: true, ...(await change()) };
    const running = run(options as never);
    await expect(running).rejects.toThrow(message);
    await expect(running).rejects.toMatchObject({ code: 'CHECKPOINT' });
  });

  it(`goes on with the same options ${SAME}`, async () => {
    const copy = join(folder, `${name}-copy`);
    await cp(join(folder, name), copy, { recursive: true });
    const more = name === 'policy' ? { steps: 2, allowChanged: ['steps'] } : { epochs: 2, allowChanged: ['epochs'] };
    const extended = await run({ outputFolder: copy, resume: true, maxTokensPerPass: 999, ...more } as never);
    expect(extended.history).toHaveLength(name === 'policy' ? 2 : 1);
  });
});

it('two references with other numbers are two', async () => {
  const outputFolder = join(folder, 'reference');
  await preferences({ outputFolder, ...(await otherReference(0)) });
  await expect(preferences({ outputFolder, resume: true, ...(await otherReference(1)) })).rejects.toThrow(
    /run: reference.parameters was \w+ and is \w+. Use/,
  );
});

describe('what teaches nothing, or cannot be meant', () => {
  const contextOf = (n: number) => Array.from({ length: n }, () => 'a').join('');
  it.each<[Record<string, unknown>, RegExp]>([
    [{ objective: 'grpo' }, /objective is "grpo"; it must be a policy objective, such as policyObjectives.grpo\(\)/],
    [{ objective: policyObjectives.grpo }, /objective is the function grpo; it must be a policy objective/],
    [{ rewards: reward }, /rewards is the function reward; it must be an object of verifiers or functions by name/],
    [{ rewards: [reward] }, /rewards is \[the function reward\]; it must be an object/],
    [{ rewards: {} }, /rewards is an object with no keys; it must be/],
    [{ rewards: { a: 1 } }, /the reward "a" must be a verifier, a function, or \{ verifier, weight \}/],
    [
      { rewards: { a: { verifier: reward, weight: Number.NaN } } },
      /the reward "a" has the weight NaN; it must be a finite number/,
    ],
    [{ rewards: { a: { verifier: reward, weight: Number.POSITIVE_INFINITY } } }, /the weight Infinity/],
    [{ rewards: { a: () => Number.NaN } }, /reward "a" returned NaN/],
    [{ rewards: { a: () => Number.POSITIVE_INFINITY } }, /reward "a" returned Infinity/],
    [{ rewards: { a: () => '1' } }, /reward "a" returned 1; return a finite number/],
    [{ rewards: { a: () => [1, 2] } }, /reward "a" returned 1,2/],
    [{ rewards: { a: () => undefined } }, /reward "a" returned undefined/],
    [{ rewards: { a: () => 1n } }, /reward "a" returned 1/],
    [
      { rewards: { a: () => 1e39, b: () => 1 } },
      /reward "a \+ b" add up to 1e\+39 with their weights, which float32 cannot hold/,
    ],
    [{ completionsPerPrompt: 1 }, /completionsPerPrompt is 1, but the advantage group-normalized\(group\) compares/],
    [{ objective: policyObjectives.rloo(), completionsPerPrompt: 1 }, /the advantage leave-one-out compares/],
    [{ temperature: Number.NaN }, /temperature is NaN/],
    [{ temperature: 1e-30 }, /temperature is 1e-30; it must be a number of at least 0.0001/],
    [{ temperature: Number.POSITIVE_INFINITY }, /temperature is Infinity/],
    [{ learningRate: Number.NaN }, /learningRate is NaN/],
    [{ maxGradNorm: Number.NaN }, /maxGradNorm is NaN/],
    [{ rows: [] }, /there are no rows to train on/],
    [{ rows: [{ q: 'a' }] }, /row 0: has no prompt; its columns are q/],
    [{ rows: [prompts[0], { prompt: '' }] }, /row 1: its prompt has no tokens/],
    [
      { rows: [prompts[0], { prompt: 7 }] },
      /row 1: its prompt cannot be tokenized: it must be a text or a list of \{ role, content \}, and is 7/,
    ],
    [{ rows: [{ prompt: [null] }] }, /row 0: its prompt cannot be tokenized: messages\[0\] must be .* and is null/],
    [{ rows: [{ prompt: [{ content: 'a' }] }] }, /messages\[0\] must be \{ role, content \} with a text as its role/],
    [{ scoring: null }, /scoring is null; it must be \{ concurrency, timeoutMs \}/],
    [{ scoring: { concurrency: '4' } }, /scoring is an object with concurrency; it must be/],
    [{ num_generations: 8 }, /unknown option "num_generations". It is called "completionsPerPrompt" here/],
    [
      { beta: 0.1 },
      /unknown option "beta"\. β belongs to the objective: objective: policyObjectives\.grpo\({ beta: 0\.04 }\)\./,
    ],
    [{ loss_type: 'dr_grpo' }, /unknown option "loss_type"\. The objective is a value/],
    [{ rewardWeights: [1] }, /unknown option "rewardWeights"\. A reward has its weight beside it/],
    [{ bf16: true }, /unknown option "bf16"\. There is no training in bfloat16; fp16: true/],
    [{ gradientAccumulationSteps: 4 }, /batchSize is all rows of an update/],
    [{ rows: 'prompts.jsonl' }, /rows is "prompts.jsonl".*Read the file: rows: readRows\("prompts.jsonl"\)/],
    [{ objective: 'grpo' }, /objective is "grpo".* Write policyObjectives\.grpo\(\)\./],
    [{ objective: policyObjectives.grpo }, /objective is the function grpo.* Call it\./],
    [
      { rewards: { a: numericMatch } },
      /the reward "a" is numericMatch, which makes a reward: call it, as numericMatch\(\)/,
    ],
    [{ rewards: { a: { verifier: formatTags, weight: 1 } } }, /the reward "a" is formatTags, which makes/],
    [
      { rewards: { a: 'exact' } },
      /the reward "a" must be a verifier, a function, or \{ verifier, weight \} with one of these, and is "exact"/,
    ],
    [
      { rewards: { a: { verifier: reward, weight: '1' } } },
      /the reward "a" has the weight "1"; it must be a finite number/,
    ],
    [
      { rewards: { a: numericMatch() }, rows: prompts.map((row) => ({ ...row, answer: 'Paris' })) },
      /the reward "a" can score none of the 7 rows\. Of the first: its column "answer" is "Paris", which is no number; exactMatch/,
    ],
    [
      { rows: [prompts[0], { prompt: contextOf(32) }] },
      /row 1: its prompt has 32 tokens, and the context of 32 leaves no room/,
    ],
    [
      { rows: [prompts[0], { prompt: [{ role: 'user', content: 'a' }] }] },
      /row 1: its prompt cannot be tokenized: toy has no chat template/,
    ],
    [{ dynamicSampling: { maxRounds: 0 } }, /dynamicSampling is an object with maxRounds; it must be \{ maxRounds \}/],
    [{ dynamicSampling: { maxRounds: 2, accuracy: { reward: 'a', from: 0.9 } } }, /it must be \{ maxRounds \}/],
    [{ model: 'models/a' }, /model is "models\/a"/],
    [{ reference: 'adapter' }, /reference is "adapter"/],
  ])('%o is refused before the first update', async (options, message) => {
    const running = policy(options as Partial<PolicyOptions>);
    await expect(running).rejects.toThrow(message);
    expect(await running.catch(isPosttrainError)).toBe(true);
  });

  it.each<[Record<string, unknown>, RegExp]>([
    [{ rewards: { judge: () => null } }, /step 0: no completion could be scored \(judge gave null for all 4/],
    [
      { maxCompletionLength: 30 },
      /maxCompletionLength 30 does not fit behind 7 of 7 prompts into the context of 32 \(the longest prompt has 3 tokens\)/,
    ],
    [{ rows: [...prompts, prompts[0]] }, /1 of 8 rows are there already/],
    [{ warmupSteps: 5 }, /warmupSteps 5 is not below the run's 1 updates/],
  ])('%o is warned of', async (options, message) => {
    warnings.length = 0;
    await policy(options as Partial<PolicyOptions>);
    expect(warnings).toEqual([expect.stringMatching(message)]);
  });

  it.each<[Record<string, unknown>, RegExp]>([
    [{ loss: 'sigmoid' }, /loss is "sigmoid"; it must be a preference loss/],
    [{ rows: 'pairs.jsonl' }, /rows is "pairs.jsonl"/],
    [{ epochs: 0 }, /epochs is 0/],
    [{ batchSize: 1.5 }, /batchSize is 1.5/],
    [{ maxLength: 33 }, /maxLength is 33; the context of toy holds 32 tokens/],
    [{ epochs: 1e300 }, /epochs makes \S+ updates, more than can be counted/],
    [
      { rows: [{}] },
      /preference row 0: chosen must be a text or a list of messages, and is undefined; its columns are none/,
    ],
    [{ rows: [{ ...pairs[0], rejected: 5 }] }, /preference row 0: rejected must be a text/],
    [{ rows: [{ chosen: 'ab', rejected: 'abc' }] }, /row 0: has no prompt, and chosen is the start of the other/],
    [{ rows: [{ chosen: 'a', rejected: 'b' }] }, /row 0: has no prompt, and chosen and rejected share no beginning/],
    [{ rows: [{ prompt: [], chosen: [null], rejected: [] }] }, /preference row 0: /],
    [
      { beta: 0.1 },
      /unknown option "beta"\. β belongs to the loss: loss: preferenceLosses\.sigmoid\({ beta: 0\.1 }\)\./,
    ],
    [{ loss: 'sigmoid' }, /Write preferenceLosses\.sigmoid\(\)\./],
    [{ loss: preferenceLosses.sigmoid }, /loss is the function dpoLoss.* Call it\./],
    [{ rows: 'pairs.jsonl' }, /readRows\("pairs.jsonl"\)/],
  ])('dpo: %o is refused', async (options, message) => {
    await expect(preferences(options as Partial<DpoOptions>)).rejects.toThrow(message);
  });

  it.each([Number.NaN, 0, -1, Number.POSITIVE_INFINITY])('β %d is refused', (beta) => {
    expect(() => preferenceLosses.sigmoid({ beta })).toThrow(/beta is .*; it must be a number above 0/);
  });

  it('weights are checked where rewards are scored by hand, too', async () => {
    await expect(scoreCompletions({ a: { verifier: reward, weight: Number.NaN } }, [])).rejects.toThrow(/weight NaN/);
  });

  it('undefined is not given, in a preset with defaults of its own', () => {
    const given = { scaleRewards: undefined, epsilonHigh: undefined } as object;
    expect(policyObjectives.dr_grpo(given).advantage.name).toBe('group-normalized(none)');
    expect(policyObjectives.dapo(given).surrogate.settings).toMatchObject({ epsilonHigh: 0.28 });
  });
});
