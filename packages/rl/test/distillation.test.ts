import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Key, referenceEngine, setEngine, tensor } from '@posttrain/core-tensor';
import { sgd } from '@posttrain/core-tensor/optim';
import { PosttrainError, type TokenScorer } from '@posttrain/interfaces';
import {
  CausalLM,
  loadWeights,
  NO_ADAPTER,
  parseModelConfig,
  sequenceLogProbs,
  Tokenizer,
  teacherMixture,
} from '@posttrain/lm';
import { createAdapter, lora } from '@posttrain/peft';
import { type AnyLoss, type Loss, sequenceLogProb, Trainer, type TrainingRow } from '@posttrain/training';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  type Advantage,
  type Annotator,
  type AnnotatorContext,
  type BondOptions,
  bestOfNLaw,
  bond,
  bondAnchor,
  bondFields,
  icePop,
  miniLlm,
  noRatio,
  onPolicyDistillation,
  type PolicyObjectiveParts,
  type PolicyTrainingOptions,
  type PromptRow,
  policyObjective,
  policyObjectives,
  pretrainingLoss,
  type Rollout,
  type ScoredRollout,
  singleTurn,
  successfulRollout,
  teacherLogProb,
  teacherLogProbs,
  teachersLogProbs,
  tokenRatio,
  trainPolicy,
  truncatedImportance,
} from '../src/index.js';
import { testAdvantage, testAnnotator, testPolicyPart, tinyPolicy } from '../src/testing/index.js';
import { expectClose, goldenFolder, readGolden } from './goldens.js';
import { endlessTokenizer, fractionOfC, prompts, tokenizer, toyModel } from './toy.js';

beforeAll(() => setEngine(referenceEngine()));

/** Every id is one character, so that prompts of any ids are texts. */
const letterOf = (id: number) => String.fromCodePoint(0x4e00 + id);
const textOf = (ids: readonly number[]) => ids.map(letterOf).join('');
const characters = new Tokenizer({
  tokenizer: {
    ...{ version: '1.0', added_tokens: [], normalizer: null, pre_tokenizer: null, post_processor: null },
    decoder: { type: 'Fuse' },
    model: {
      type: 'BPE',
      vocab: Object.fromEntries(Array.from({ length: 256 }, (_, id) => [letterOf(id), id])),
      merges: [],
    },
  },
  config: {},
});
const goldenModel = async (name: string) =>
  new CausalLM({ ...(await loadWeights(join(goldenFolder, 'models', name))), tokenizer: characters, name });

const contextOf = (model: CausalLM, temperature = 1): AnnotatorContext => ({
  ...{ model, adapter: NO_ADAPTER, temperature, step: 0, key: Key.fromSeed(0) },
  sample: () => expect.fail('samples'),
  score: () => expect.fail('scores'),
});

const scored = (row: PromptRow, promptTokens: readonly number[], completionTokens: readonly number[]) =>
  ({
    ...{ group: 0, row, promptTokens, completionTokens, text: '', finishReason: 'stop', reward: 0, rewards: {} },
    samplerLogProbs: completionTokens.map(() => 0),
  }) satisfies ScoredRollout;

/** Loss, metrics and the gradient of the last norm. */
async function gradientOf(model: CausalLM, rows: readonly TrainingRow[], loss: AnyLoss) {
  const trainer = await Trainer.create(model, { optimizer: sgd(), maxTokensPerPass: 64 });
  const result = await trainer.forwardBackward(rows, loss);
  const gradients = await trainer.takeGradients();
  return { ...result, norm: await gradients['model.norm.weight']!.toArray(), gradients };
}

const annotatedBy = async (
  annotators: readonly Annotator[] | undefined,
  rollouts: readonly ScoredRollout[],
  model: CausalLM,
) => {
  let all = rollouts;
  for (const annotator of annotators ?? []) all = await annotator.annotate(all, contextOf(model));
  return all;
};
const withOld = (rollouts: readonly ScoredRollout[], old: readonly (readonly number[])[]) =>
  rollouts.map((rollout, i): Rollout => ({ ...rollout, oldLogProbs: old[i]! }));

describe('MiniLLM against TRL 1.9', () => {
  interface Case {
    readonly gamma: number;
    readonly length_normalization: boolean;
  }
  const golden = readGolden<{
    advantages: { student: number[]; teacher: number[]; cases: (Case & { advantages: number[] })[] }[];
    losses: {
      prompts: number[][];
      completions: number[][];
      old_logps: number[][];
      teacher_logps: number[][];
      outcome: number[];
      cases: (Case & { single_step_decomposition: boolean; loss: number; norm: number[] })[];
    };
  }>('../minillm/expected.json');

  const [given] = golden.advantages;
  it.each(given!.cases)('advantage: γ $gamma, normalised $length_normalization', (test) => {
    const { gamma, length_normalization: lengthNormalization, advantages } = test;
    const completionTokens = given!.student.map(() => 1);
    const rollout = teacherLogProb.on(
      { group: 0, promptTokens: [1], completionTokens, reward: null, oldLogProbs: given!.student },
      given!.teacher,
    );
    const advantage = miniLlm({ gamma, lengthNormalization, rewardToGo: 'token' });
    expectClose(advantage.compute([rollout])[0] as number[], advantages, 1e-6);
    // What is not trained is not there: the same tokens among others.
    const among = teacherLogProb.on(
      {
        ...rollout,
        completionTokens: completionTokens.flatMap(() => [1, 1]),
        mask: completionTokens.flatMap(() => [0, 1]),
        oldLogProbs: given!.student.flatMap((x) => [-9, x]),
      },
      given!.teacher.flatMap((x) => [-1, x]),
    );
    const found = advantage.compute([among])[0] as number[];
    expectClose(
      found.filter((_, t) => t % 2 === 1),
      advantages,
      1e-6,
    );
  });

  it.each(golden.losses.cases)(
    'loss and gradient through two models: γ $gamma, normalised $length_normalization, single step $single_step_decomposition',
    async (test) => {
      const { prompts, completions, old_logps, teacher_logps, outcome } = golden.losses;
      const [student, teacher] = [await goldenModel('llama'), await goldenModel('mistral')];
      const parts = policyObjectives.minillm({
        ...{ teacher, gamma: test.gamma, lengthNormalization: test.length_normalization, rewardToGo: 'token' },
        singleStepDecomposition: test.single_step_decomposition,
        outcome: { name: 'given', compute: () => outcome },
      });
      const plain = completions.map((completion, i) => scored({ prompt: '' }, prompts[i]!, completion));
      const rollouts = withOld(await annotatedBy(parts.annotators, plain, student), old_logps);
      rollouts.forEach((one, i) => {
        expectClose(Array.from(teacherLogProb.of(one)), teacher_logps[i]!, 2e-6);
      });
      const objective = policyObjective(parts);
      const { rows } = objective.annotate(rollouts, { maxCompletionLength: 5 });
      const { loss, norm, metrics } = await gradientOf(student, rows, objective.loss);
      expectClose([loss], [test.loss], 2e-6);
      expectClose(norm, test.norm, 2e-6);
      const gaps = old_logps.flatMap((row, i) => row.map((x, t) => x - teacher_logps[i]![t]!));
      expectClose([metrics.reverse_kl!], [gaps.reduce((a, b) => a + b, 0) / gaps.length], 2e-6);
    },
  );
});

describe('self-distillation against TRL', () => {
  const golden = readGolden<{
    prompts: number[][];
    privileged: number[][];
    completions: number[][];
    old_logps: number[][];
    cases: { mode: string; k: number; alpha: number; skip: number; loss: number; norm: number[] }[];
  }>('self-distillation.json');

  it.each(golden.cases)('$mode: α $alpha, $k tokens, $skip skipped: value and gradient', async (test) => {
    const { privileged: hints, completions, old_logps } = golden;
    const [student, teacher] = [await goldenModel('llama'), await goldenModel('mistral')];
    const privileged = ({ prompt }: PromptRow) => textOf(hints[golden.prompts.findIndex((x) => textOf(x) === prompt)]!);
    const objectiveParts =
      test.mode === 'sampled_token'
        ? policyObjectives.opsd({ teacher, privileged })
        : policyObjectives.sdft({ teacher, privileged, alpha: test.alpha, topK: test.k, skipTokens: test.skip });
    const plain = completions.map((completion, i) =>
      scored({ prompt: textOf(golden.prompts[i]!) }, golden.prompts[i]!, completion),
    );
    // The sampled-token loss has the student's own log-probabilities in its advantage.
    const own = await sequenceLogProbs(
      student,
      plain.map(({ promptTokens, completionTokens }) => [...promptTokens, ...completionTokens]),
    );
    const present = own.map(({ logProbs }, i) => Array.from(logProbs.subarray(golden.prompts[i]!.length - 1)));
    const rollouts = withOld(
      await annotatedBy(objectiveParts.annotators, plain, student),
      test.mode === 'sampled_token' ? present : old_logps,
    );
    const objective = policyObjective(objectiveParts);
    const { rows } = objective.annotate(rollouts, { maxCompletionLength: 8 });
    const { loss, norm } = await gradientOf(student, rows, objective.loss as AnyLoss);
    expectClose([loss], [test.loss], 3e-6);
    expectClose(norm, test.norm, 5e-6);
  });

  it('teaches nothing where the teacher sees what the student sees', async () => {
    const model = await toyModel(1);
    const objective = policyObjectives.sdft({ teacher: 'live', privileged: ({ prompt }) => prompt, topK: 8 });
    const plain = [scored({ prompt: 'ab' }, [0, 1], [2, 3, 4]), scored({ prompt: 'c' }, [2], [1])];
    const rollouts = withOld(await annotatedBy(objective.annotators, plain, model), [[0, 0, 0], [0]]);
    const { rows } = policyObjective(objective).annotate(rollouts, { maxCompletionLength: 3 });
    const { loss, norm } = await gradientOf(model, rows, policyObjective(objective).loss as AnyLoss);
    expectClose([loss, ...norm], new Array(norm.length + 1).fill(0), 1e-6);
  });
});

describe('SDPO against TRL', () => {
  interface Shown {
    kind: 'text' | 'chat';
    options: Record<string, boolean | number>;
    shown: (string | { role: string; content: string }[] | null)[];
  }
  const golden = readGolden<{
    texts: string[];
    rewards: number[];
    feedback: (string | null)[];
    cases: Shown[];
    loss: Record<'prompts' | 'privileged' | 'completions', number[][]> & { loss: number; norm: number[] };
  }>('sdpo.json');
  const { texts, rewards, feedback } = golden;

  it.each(golden.cases)('shows the teacher of a $kind what TRL shows it: $options', ({ kind, options, shown }) => {
    const questions = texts.map((_, i) => (i < 3 ? '2+2=' : '6+6='));
    const rollouts = texts.map((text, i) => {
      const chat = [
        { role: 'system', content: 'add' },
        { role: 'user', content: questions[i]! },
      ];
      const prompt = kind === 'text' ? questions[i]! : chat;
      return { ...scored({ prompt }, [1], [2]), group: Math.floor(i / 3), text, reward: rewards[i]! };
    });
    const { include_environment_feedback: says, ...others } = options;
    const camel = (name: string) => name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
    const given = Object.fromEntries(Object.entries(others).map(([name, value]) => [camel(name), value]));
    const { environmentFeedbackOnlyWithoutSolution: only, ...own } = given as Record<string, never>;
    const privileged = successfulRollout({
      ...own,
      ...(only !== undefined && { feedbackOnlyWithoutSolution: only }),
      ...(says && { feedback: (rollout) => feedback[rollouts.indexOf(rollout as (typeof rollouts)[number])]! }),
    });
    const found = rollouts.map((rollout) => {
      const group = rollouts.filter((other) => other.group === rollout.group);
      return privileged({ ...rollout.row }, { rollout, group }) ?? null;
    });
    expect(found).toEqual(shown);
  });

  it('has its loss and gradient where one completion of three is not taught', async () => {
    const { prompts: ids, privileged: hints, completions, loss: expected, norm: gradient } = golden.loss;
    const [student, teacher] = [await goldenModel('llama'), await goldenModel('mistral')];
    const plain = completions.map((completion, i) => ({
      ...scored({ prompt: textOf(ids[i]!) }, ids[i]!, completion),
      ...{ group: i, reward: i === 1 ? 0 : 1 },
    }));
    const parts = policyObjectives.sdpo({
      teacher,
      dontRepromptOnSelfSuccess: false,
      repromptTemplate: '{solution}',
      solutionTemplate: '{successful_previous_attempt}',
    }) as PolicyObjectiveParts;
    // What is shown is what the golden's teacher reads, and nothing to the second.
    const rollouts = plain.map((rollout, i) => ({ ...rollout, text: textOf(hints[i]!) }));
    const own = await sequenceLogProbs(
      student,
      plain.map(({ promptTokens, completionTokens }) => [...promptTokens, ...completionTokens]),
    );
    const old = own.map(({ logProbs }, i) => Array.from(logProbs.subarray(ids[i]!.length - 1)));
    const annotated = withOld(await annotatedBy(parts.annotators, rollouts, student), old);
    expect(annotated.map(({ mask }) => mask && Array.from(mask))).toEqual([undefined, [0, 0], undefined]);
    const objective = policyObjective(parts);
    const { rows } = objective.annotate(annotated, { maxCompletionLength: 8 });
    const { loss, norm } = await gradientOf(student, rows, objective.loss);
    expectClose([loss], [expected], 3e-6);
    expectClose(norm, gradient, 5e-6);
  });
});

/** Every completion of two letters behind a prompt, with its probability. */
describe('by enumeration', () => {
  const PROMPT = [0, 1];
  const all = Array.from({ length: 64 }, (_, i) => [Math.floor(i / 8), i % 8]);
  const set = async () => {
    const [student, teacher] = [await toyModel(3, endlessTokenizer), await toyModel(4, endlessTokenizer)];
    const sequences = all.map((completion) => [...PROMPT, ...completion]);
    const under = async (model: CausalLM) =>
      (await sequenceLogProbs(model, sequences)).map(({ logProbs }) => Array.from(logProbs.subarray(1)));
    return { student, teacher, own: await under(student), taught: await under(teacher) };
  };
  const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);

  /** Σ_y q(y) (log q(y) - log p(y)): differentiable in q. */
  const exact: Loss = {
    name: 'reverse-kl',
    annotations: [{ name: 'taught', per: 'row' }],
    computeFrom(read, { annotations, weights }) {
      const own = read(sequenceLogProb);
      const isThere = weights.max(1).greater(0).cast('float32');
      return { loss: own.exp().mul(own.sub(annotations.taught!)).mul(isThere).sum(), metrics: {} };
    },
  };

  it.each([
    [
      'reward-to-go from the next token, and the single-step term',
      { rewardToGo: 'next', singleStepDecomposition: true },
    ],
    ['reward-to-go from the token, without it', { rewardToGo: 'token', singleStepDecomposition: false }],
  ] as const)('MiniLLM has the gradient of the reverse KL of whole completions: %s', async (_, options) => {
    const { student, teacher, own, taught } = await set();
    const whole = all.map((completion, i) => ({
      tokens: [...PROMPT, ...completion],
      weights: [0, 1, 1],
      annotations: { taught: [sum(taught[i]!)] },
    }));
    const wanted = await gradientOf(student, whole, exact);
    const parts = policyObjectives.minillm({ teacher, lengthNormalization: false, ...options });
    const rollouts = withOld(
      await annotatedBy(
        parts.annotators,
        all.map((completion) => scored({ prompt: '' }, PROMPT, completion)),
        student,
      ),
      own,
    );
    const weights = own.map((logProbs) => Math.exp(sum(logProbs)));
    const objective = policyObjective({
      ...parts,
      aggregation: { name: 'expectation', settings: {}, weights: () => weights },
    });
    const { rows } = objective.annotate(rollouts, { maxCompletionLength: 2 });
    const found = await gradientOf(student, rows, objective.loss);
    for (const [name, gradient] of Object.entries(found.gradients)) {
      expectClose(await gradient.toArray(), await wanted.gradients[name]!.toArray(), 2e-6, name);
    }
    expect(Math.max(...wanted.norm.map(Math.abs))).toBeGreaterThan(1e-3);
  });

  it('on-policy distillation has the gradient of the next tokens’ reverse KL, states held, and the metric is the KL', async () => {
    const { student, teacher, own } = await set();
    const probabilities = own.map((logProbs) => Math.exp(sum(logProbs)));
    const rollouts = withOld(
      await annotatedBy(
        [teacherLogProbs({ teacher })],
        all.map((completion) => scored({ prompt: '' }, PROMPT, completion)),
        student,
      ),
      own,
    );
    const expectation = { name: 'expectation', settings: {}, weights: () => probabilities };
    const gradientWith = async (parts: ReturnType<typeof policyObjectives.on_policy_distillation>) => {
      const objective = policyObjective({ ...parts, aggregation: expectation });
      const { rows } = objective.annotate(rollouts, { maxCompletionLength: 2 });
      return gradientOf(student, rows, objective.loss);
    };
    const sampled = await gradientWith(policyObjectives.on_policy_distillation({ teacher }));
    // The single-step term alone, over the whole vocabulary.
    const silent: Advantage = { name: 'none', compute: (list) => list.map(() => 0) };
    const singleStep = await gradientWith({ ...policyObjectives.minillm({ teacher }), advantage: silent });
    expectClose(sampled.norm, singleStep.norm, 2e-6);
    const reinforce = await gradientWith(policyObjectives.mopd({ teachers: { teacher } }));
    expectClose(reinforce.norm, sampled.norm, 1e-6);
  });
});

describe('the parts', () => {
  const extras = ({ completionTokens }: Pick<Rollout, 'completionTokens'>, i: number) => ({
    'teacher.log-probs': completionTokens.map((_, t) => -1 - Math.sin(i + 2 * t)),
  });
  testAdvantage(it, () => onPolicyDistillation(), { extras, readsRewards: false });
  testAdvantage(it, () => miniLlm({ gamma: 0.9 }), { extras, readsRewards: false });
  testAnnotator(it, async () => teacherLogProbs({ teacher: await tinyPolicy() }));
  testAnnotator(it, () => teacherLogProbs({ teacher: 'live', privileged: ({ prompt }) => `a${prompt}` }));
  testPolicyPart(it, 'ratio', () => icePop(tokenRatio(), { low: 0.8, high: 1.3 }));

  it('IcePop keeps the weights between its bounds and drops the others', async () => {
    const weights = [0.1, 0.49, 0.5, 1, 4.99, 5.01];
    const corrected = icePop(noRatio()).correct!(tensor(weights.map((w) => [Math.log(w + 1e-6)])), tensor([[1]]));
    expectClose(await corrected.toArray(), [0, 0, 0.5, 1, 4.99, 0], 1e-5);
    expect(() => icePop(noRatio(), { low: 6 })).toThrow(/low is 6, above high, which is 5/);
  });

  it('adds what the rewards are worth to every token', () => {
    const rollout = (reward: number): Rollout =>
      teacherLogProb.on(
        { group: 0, promptTokens: [1], completionTokens: [2, 3], reward, oldLogProbs: [-1, -2] },
        [-2, -2],
      );
    const outcome: Advantage = { name: 'reward', compute: (list) => list.map(({ reward }) => reward!) };
    const found = onPolicyDistillation({ coefficient: 0.5, outcome }).compute([rollout(1), rollout(-1)]);
    expect(found).toEqual([
      [0.5, 1],
      [-1.5, -1],
    ]);
  });

  it('score each row by the teacher of its domain, or by all and take the mean', async () => {
    const [model, a, b] = [await toyModel(1), await toyModel(2), await toyModel(3)];
    const rollouts = ['a', 'b', 'a'].map((domain, i) =>
      scored({ prompt: 'x', domain } as PromptRow, [i, 1], [2, i + 2]),
    );
    const under = async (teacher: CausalLM) =>
      (await annotatedBy([teacherLogProbs({ teacher })], rollouts, model)).map((one) =>
        Array.from(teacherLogProb.of(one)),
      );
    const [ofA, ofB] = [await under(a), await under(b)];
    const by = async (annotator: Annotator) =>
      (await annotatedBy([annotator], rollouts, model)).map((one) => Array.from(teacherLogProb.of(one)));
    const route = (row: PromptRow) => (row as PromptRow & { domain: string }).domain;
    const routed = await by(teachersLogProbs({ teachers: { a, b }, route }));
    [ofA[0]!, ofB[1]!, ofA[2]!].forEach((expected, i) => {
      expectClose(routed[i]!, expected, 1e-6);
    });
    const mean = await by(teachersLogProbs({ teachers: { a, b } }));
    mean.forEach((found, i) => {
      expectClose(
        found,
        ofA[i]!.map((x, t) => (x + ofB[i]![t]!) / 2),
        1e-6,
      );
    });
    await expect(by(teachersLogProbs({ teachers: { a }, route }))).rejects.toThrow(
      /a row is routed to the teacher "b", and there are a: .*"domain":"b"/,
    );
  });
});

describe('in trainPolicy', () => {
  const run = async (options: Partial<PolicyTrainingOptions<PromptRow>>) =>
    trainPolicy<PromptRow>({
      ...{ model: await toyModel(1), rows: prompts, rewards: { c: (text: string) => fractionOfC(text) } },
      ...{ objective: policyObjectives.grpo(), steps: 2, promptsPerStep: 2, completionsPerPrompt: 2 },
      ...{ maxCompletionLength: 4, learningRate: 0.02, seed: 1, onWarning: () => {}, ...options },
    });
  /** A teacher elsewhere: it knows token ids and nothing else. */
  const elsewhere = (model: CausalLM, texts = (id: number) => model.tokenizer.decode([id])): TokenScorer => ({
    name: model.name,
    async scoreTokens(sequences) {
      const found = await sequenceLogProbs(model, sequences);
      return found.map(({ logProbs }, i) => ({ logProbs, texts: sequences[i]!.slice(1).map(texts) }));
    },
  });
  const metricsOf = ({ history }: Awaited<ReturnType<typeof run>>) =>
    history.map(({ metrics: { step_time: _, ...metrics } }) => metrics);

  it('a teacher behind an endpoint teaches what the same teacher here does', async () => {
    const teacher = await toyModel(9);
    const [here, there] = [
      await run({ objective: policyObjectives.mopd({ teachers: { teacher } }) }),
      await run({ objective: policyObjectives.mopd({ teachers: { teacher: elsewhere(teacher) } }) }),
    ];
    expect(metricsOf(there)).toEqual(metricsOf(here));
    expect(Number.isFinite(metricsOf(here)[0]!.reverse_kl)).toBe(true);
  });

  it('MiniLLM samples from teacher and student mixed, and corrects for it', async () => {
    const teacher = await toyModel(9);
    const parts = policyObjectives.minillm({ teacher });
    const { history } = await run({
      objective: { ...parts, ratio: truncatedImportance(parts.ratio) },
      rollouts: singleTurn({ mix: teacherMixture({ teacher: { model: teacher }, alpha: 0.5 }) }),
    });
    expect(history[1]!.metrics.grad_norm).toBeGreaterThan(0);
  });

  it.each(['sampled_token', 'logits'] as const)(
    'SDPO learns from solutions of its group (%s), and is refused where it cannot be meant',
    async (distillationMode) => {
      const topK = distillationMode === 'logits' ? { topK: 8 } : {};
      const objective = policyObjectives.sdpo({
        ...{ distillationMode, ...topK, successRewardThreshold: 0.5 },
        // The toy tokenizer has letters only.
        ...{ repromptTemplate: '{solution}{prompt}', solutionTemplate: '{successful_previous_attempt}' },
      });
      const { history } = await run({ model: await toyModel(1), objective, completionsPerPrompt: 8 });
      expect(Math.max(...history.map(({ metrics }) => metrics.grad_norm!))).toBeGreaterThan(0);
      expect(() => policyObjectives.sdpo({ teacher: 'ema' })).toThrow(/teacher needs the teacher's distributions/);
      expect(() => policyObjectives.sdpo({ alpha: 0.5 })).toThrow(/alpha needs the teacher's distributions/);
      const ends = [
        { role: 'user', content: 'a' },
        { role: 'assistant', content: 'b' },
      ];
      const rollout = { ...scored({ prompt: ends }, [1], [2]), reward: 1 };
      const show = successfulRollout({ dontRepromptOnSelfSuccess: false });
      expect(() => show({ prompt: ends }, { rollout, group: [rollout] })).toThrow(/ends with the assistant/);
      expect(String(show)).toContain('"dontRepromptOnSelfSuccess":false');
    },
  );
  it('MiniLLM with its pretraining loss: value and gradient are those of both, row by row of a run', async () => {
    const [model, teacher] = [await toyModel(1), await toyModel(9)];
    const texts = ['abcabc', 'cab', 'bca'].map((text) => ({ text }));
    const pretraining = { rows: texts, coefficient: 0.5, batchSize: 2, seed: 3 };
    const rate = 0.5;
    const shared = { model, optimizer: sgd(), learningRate: rate, schedule: 'constant', maxGradNorm: 0 } as const;
    const runOf = async (given: object) => {
      const { trainer, history } = await run({
        ...shared,
        steps: 1,
        objective: policyObjectives.minillm({ teacher, ...given }),
      });
      return { moved: trainer.parameters, metrics: history[0]!.metrics };
    };
    const [plain, both] = [await runOf({}), await runOf({ pretraining })];
    // By itself: the mean of -log p over the tokens of the two texts, of one forward pass without a trainer.
    const beside = pretrainingLoss(pretraining);
    const rows = beside.rows(model, 0);
    const known = await sequenceLogProbs(
      model,
      rows.map(({ tokens }) => [...tokens]),
    );
    const all = known.flatMap(({ logProbs }) => Array.from(logProbs));
    const nll = -all.reduce((a, b) => a + b, 0) / all.length;
    expectClose([both.metrics.pretraining_loss!, both.metrics.loss! - plain.metrics.loss!], [nll, 0.5 * nll], 1e-6);
    const { gradients } = await gradientOf(model, rows, beside.loss);
    for (const [name, gradient] of Object.entries(gradients)) {
      const [a, b] = [await both.moved[name]!.toArray(), await plain.moved[name]!.toArray()];
      expectClose(
        a.map((x, i) => (b[i]! - x) / rate),
        await gradient.toArray(),
        2e-5,
        name,
      );
    }
    // Every text once an epoch, in the order of the update; another coefficient or text is another run.
    const seen = [0, 1, 2].flatMap((update) => beside.rows(model, update).map(({ tokens }) => tokens.join()));
    expect(seen.slice(0, 3).toSorted()).toEqual(seen.slice(3).toSorted());
    expect(new Set(seen).size).toBe(3);
    const { settings } = pretrainingLoss({ ...pretraining, rows: texts.slice(1) });
    expect(settings).not.toEqual(beside.settings);
    expect(policyObjectives.minillm({ teacher, pretraining }).beside!.settings).toEqual(beside.settings);
  });

  it('self-distillation learns from its base behind an adapter', async () => {
    const model = await toyModel(1);
    const adapter = await createAdapter(model, lora, { r: 2, targetModules: 'all-linear' }, { seed: 1 });
    const privileged = ({ prompt }: PromptRow) => `c${prompt}`;
    for (const objective of [
      policyObjectives.sdft({ privileged, topK: 8 }),
      policyObjectives.opsd({ privileged, teacher: 'base' }),
    ]) {
      const { history } = await run({ model, adapter, objective });
      expect(history[1]!.metrics.grad_norm).toBeGreaterThan(0);
    }
  });

  it('the moving average of the student: of all of it, it is the student, and a resumed run goes on with it', async () => {
    const model = await toyModel(1);
    const adapter = await createAdapter(model, lora, { r: 2, targetModules: ['q_proj'] }, { seed: 1 });
    const privileged = ({ prompt }: PromptRow) => `c${prompt}`;
    const losses = async (given: object, more: object = {}) => {
      const objective = policyObjectives.sdft({ privileged, topK: 8, ...given });
      const { history } = await run({ ...{ model, adapter, objective, steps: 2, learningRate: 0.1 }, ...more });
      return history.map(({ metrics }) => metrics.loss!);
    };
    const ema = { teacher: 'ema', teacherUpdateRate: 0.3 } as const;
    const moving = await losses(ema);
    expect(await losses({ teacher: 'ema', teacherUpdateRate: 1 })).toEqual(await losses({ teacher: 'live' }));
    // Behind LoRA, which begins with nothing, the base is where the average begins.
    const base = await losses({ teacher: 'base' });
    expect(moving.slice(0, 1)).toEqual(base.slice(0, 1));
    expect(moving[1]).not.toBeCloseTo(base[1]!, 6);
    expect(await losses({ ...ema, teacherSyncSteps: 5 })).toEqual(base);
    const saved = { outputFolder: await mkdtemp(join(tmpdir(), 'ema-')), saveSteps: 1, resume: true };
    await losses(ema, { ...saved, steps: 1 });
    // Checkpoints are float32, the reference engine is not.
    expect((await losses(ema, { ...saved, allowChanged: ['steps'] })).at(-1)).toBeCloseTo(moving.at(-1)!, 8);
    expect(() => policyObjectives.sdft({ privileged, teacher: 'mean' as never })).toThrow(/'live' or 'ema'/);
  });

  it('refuses before anything is sampled', async () => {
    const [teacher, privileged] = [await toyModel(9), ({ prompt }: PromptRow) => prompt];
    const other = new Tokenizer({ ...tokenizer.files(), tokenizer: renamed() });
    const small = await CausalLM.initialize(
      { config: parseModelConfig({ ...smallConfig }), tokenizer, name: 'small' },
      1,
    );
    const silent: TokenScorer = {
      name: 'silent',
      scoreTokens: async () => {
        throw new PosttrainError('ENDPOINT', '"silent" did not return log-probabilities');
      },
    };
    const { on_policy_distillation: opd, mopd, minillm, sdft } = policyObjectives;
    for (const [options, said] of [
      [
        { objective: opd({ teacher: await toyModel(9, other) }) },
        /another tokenizer than the student: token 2 is "C".*"c".*sft/,
      ],
      [
        { objective: mopd({ teachers: { one: teacher, two: small } }) },
        /vocabulary of 9 tokens and the student one of 8/,
      ],
      [
        { objective: opd({ teacher: silent }) },
        /the teacher silent gives no log-probabilities of the student’s tokens: "silent" did not/,
      ],
      [
        { objective: opd({ teacher: elsewhere(teacher, (id) => `<${id}>`) }) },
        /another tokenizer than the student: token \d is "<\d>" there and "\w" here; take one of the student’s tokenizer/,
      ],
      [
        { objective: opd({ teacher: elsewhere(teacher) }), temperature: 0.7 },
        /is elsewhere and scores at temperature 1, and the student samples at 0.7/,
      ],
      [
        { objective: opd({ teacher: { name: 'few', scoreTokens: async () => [{ logProbs: [-1] }] } }) },
        /gives 1 log-probabilities of 24/,
      ],
      [
        { objective: minillm({ teacher, pretraining: { rows: [{ text: 'ab' }, { words: 'c' }] } }) },
        /row 1: has none of text.*columns are words/,
      ],
      [{ objective: sdft({ privileged }) }, /teacher is 'base', and every weight is trained.*'live'/],
      [{ objective: sdft({ privileged, teacher: 'live' }) }, /topK is 100, and the vocabulary has 8 tokens/],
    ] as const) {
      const rollouts = { name: 'none', sample: () => expect.fail('samples') };
      await expect(run({ ...options, rollouts }), String(said)).rejects.toThrow(said);
    }
    expect(() => minillm({ teacher: elsewhere(teacher) })).toThrow(
      /single-step decomposition needs.*rewardToGo: 'token'/,
    );
    expect(() => minillm({ teacher, pretraining: { rows: [] } })).toThrow(/a list of at least one row/);
    const beside = pretrainingLoss({ rows: [{ text: 'ab' }] });
    expect(() => policyObjective({ ...policyObjectives.trpo(), beside })).toThrow(/"trpo" makes its step of one loss/);
    expect(() => opd({ teacher: 'gpt' as never })).toThrow(/a CausalLM, something that scores tokens/);
    expect(() => mopd({ teachers: {} })).toThrow(/an object by name of teachers/);
  });

  const smallConfig = {
    ...{ model_type: 'llama', vocab_size: 9, hidden_size: 8, intermediate_size: 8, num_hidden_layers: 1 },
    ...{ num_attention_heads: 1, max_position_embeddings: 32, eos_token_id: 7 },
  };
  const renamed = () => {
    const files = tokenizer.files().tokenizer as { model: { vocab: Record<string, number> } };
    const { c: _, ...vocab } = files.model.vocab;
    return { ...files, model: { ...files.model, vocab: { ...vocab, C: 2 } } } as never;
  };
});

describe('BOND', () => {
  const { isBest, quantileReward, anchorLogProbs } = bondFields;
  /** A rollout as `bondAnchor` gives it, with log π of its tokens. */
  const marked = (best: boolean, reward: number, policy: readonly number[], anchor: readonly number[]): Rollout => {
    const plain = {
      ...scored(
        { prompt: '' },
        [0],
        policy.map((_, t) => t),
      ),
      oldLogProbs: policy,
    };
    return isBest.on(quantileReward.on(anchorLogProbs.on(plain, anchor), reward), Number(best));
  };

  it('has the advantages of its formula, by NumPy', () => {
    const { cases } = readGolden<{
      cases: {
        options: BondOptions;
        rewards: number[];
        policy: number[][];
        anchor: number[][];
        advantages: number[];
      }[];
    }>('bond.json');
    for (const { options, rewards, policy, anchor, advantages } of cases) {
      const rollouts = policy.map((own, i) => marked(i >= rewards.length, rewards[i] ?? 0, own, anchor[i]!));
      expectClose(bond(options).compute(rollouts) as number[], advantages, 1e-9);
    }
  });

  it('comes to the best of N, exactly, whose law is that of all N-tuples', async () => {
    const [anchor, rewards] = [
      [0.3, 0.25, 0.2, 0.15, 0.1],
      [1, 0, 2, 1, 3],
    ];
    const tuples = (n: number): number[][] =>
      n === 0 ? [[]] : tuples(n - 1).flatMap((rest) => anchor.map((_, y) => [...rest, y]));
    for (const n of [2, 3]) {
      const best = anchor.map(() => 0);
      for (const tuple of tuples(n)) {
        const top = Math.max(...tuple.map((y) => rewards[y]!));
        const p = tuple.reduce((product, y) => product * anchor[y]!, 1);
        const ties = tuple.filter((y) => rewards[y] === top);
        for (const y of ties) best[y]! += p / ties.length;
      }
      expectClose(bestOfNLaw(anchor, rewards, n), best, 1e-12);
      for (const beta of [0, 0.5, 1]) {
        // Softmax of logits, by the exact expectation of what `bond` says of each outcome.
        const { compute } = bond({ n, beta, baseline: 'none' });
        let logits = anchor.map(() => 0);
        for (let step = 0; step < 800; step++) {
          const total = logits.reduce((sum, x) => sum + Math.exp(x), 0);
          const policy = logits.map((x) => Math.exp(x) / total);
          const drawn = policy.map((p, y) =>
            marked(false, Math.log(best[y]! / anchor[y]!) / (n - 1), [Math.log(p)], [Math.log(anchor[y]!)]),
          );
          const found = compute([...drawn, marked(true, 0, [0], [0])]) as number[];
          const slopes = policy.map((p, y) => (p * found[y]! * 5) / 6 + (best[y]! * found[5]!) / 6);
          const sum = slopes.reduce((a, b) => a + b);
          logits = logits.map((x, y) => x + 2 * (slopes[y]! - sum * policy[y]!));
        }
        const total = logits.reduce((sum, x) => sum + Math.exp(x), 0);
        expectClose(
          logits.map((x) => Math.exp(x) / total),
          best,
          1e-4,
        );
      }
    }
  });

  it('estimates quantiles from samples of the anchor, which follows the policy; what cannot be is refused', async () => {
    const model = await toyModel(3, endlessTokenizer);
    const other = await toyModel(4, endlessTokenizer);
    const annotator = bondAnchor({ n: 2, eta: 0.25 });
    const weightsOf: number[][] = [];
    const context = (policy: CausalLM) =>
      ({
        ...{ model: policy, adapter: NO_ADAPTER, temperature: 1, step: 0, key: Key.fromSeed(0) },
        sample: async (prefixes, by) => {
          weightsOf.push(await by!.model.weights['model.norm.weight']!.toArray());
          return prefixes.map(({ rollout }) => [0, 1].map((i) => ({ ...rollout, completionTokens: [i + 3] })));
        },
        score: async (rollouts) =>
          rollouts.map((it) => ({ ...it, reward: it.completionTokens[0]! - 3, rewards: {} }) as ScoredRollout),
      }) as AnnotatorContext;
    const given = [-1, 0, 0.5, null].map((reward) => ({ ...scored({ prompt: '' }, [0, 1], [2]), reward }));
    const annotated = (await annotator.annotate(given, context(model))) as Rollout[];
    expect(annotated.map(quantileReward.of)).toEqual([-Math.log(16), 0, 0, Number.NEGATIVE_INFINITY, 0]);
    expect(annotated.map(isBest.of)).toEqual([0, 0, 0, 0, 1]);
    expect(annotated[4]!.completionTokens).toEqual([4]);
    const [own] = await sequenceLogProbs(model, [[0, 1, 4]]);
    expectClose(Array.from(anchorLogProbs.of(annotated[4]!)), [own!.logProbs.at(-1)!], 1e-6);
    const resumed = bondAnchor({ n: 2, eta: 0.25, quantile: 'empirical' });
    await resumed.load!(annotator.state!());
    const again = (await resumed.annotate(given, context(other))) as Rollout[];
    expectClose(again.slice(0, 3).map(quantileReward.of), [Math.log(1 / 3), Math.log(2 / 3), Math.log(2 / 3)], 1e-9);
    const [first, second] = await Promise.all([model, other].map((it) => it.weights['model.norm.weight']!.toArray()));
    expectClose(weightsOf[0]!, first!, 0);
    expectClose(
      weightsOf[1]!,
      first!.map((x, i) => 0.75 * x + 0.25 * second![i]!),
      1e-6,
    );
    expect(() => bondAnchor({ n: 4, anchorSamples: 2 })).toThrow(/the best of 4 needs as many/);
    expect(() => policyObjectives.j_bond({ n: 4 })).toThrow(/j_bond is an estimate from two samples, not 4/);
  });
});
