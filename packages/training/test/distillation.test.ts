import { readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { referenceEngine, setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { adamW, sgd } from '@posttrain/core-tensor/optim';
import { CausalLM, LocalGenerator, loadWeights, sequenceLogProbs, Tokenizer } from '@posttrain/lm';
import { createAdapter, lora } from '@posttrain/peft';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tinyModel } from '../../peft/src/testing/tiny-model.js';
import {
  annotateTopK,
  type DistillOptions,
  type DistillRow,
  type DivergenceOptions,
  distill,
  distillation,
  distillOptions,
  distillStepByStep,
  divergence,
  knowledgeDistillation,
  type Loss,
  negativeLogLikelihood,
  type StepByStepOptions,
  type StoreTeacherTopKOptions,
  sft,
  stepByStepLoss,
  stepByStepRows,
  storeTeacherTopK,
  TeacherFile,
  TeacherFileError,
  Trainer,
  type TrainingRow,
  trainingShape,
} from '../src/index.js';
import { drawing, gainOf, lettersModel } from './letters.js';
import { contents, expectClose, modelOf } from './model.js';

const goldens = join(import.meta.dirname, '../../../goldens');
const golden = JSON.parse(readFileSync(join(goldens, 'losses/gkd.json'), 'utf8')) as {
  sequences: number[][];
  untrained: number;
  cases: { beta: number; temperature: number; loss: number; norm: number[]; lm_head: number[] }[];
};

const soft = JSON.parse(readFileSync(join(goldens, 'losses/distill.json'), 'utf8')) as {
  sequences: number[][];
  untrained: number;
  soft_and_hard: (Gradients & { alpha: number; temperature: number; kd_loss: number; nll_loss: number })[];
  top_k: (Gradients & { k: number; beta: number })[];
  step_by_step: (Gradients & { weight: number; label_loss: number; rationale_loss: number })[];
};
interface Gradients {
  readonly loss: number;
  readonly norm: number[];
  readonly lm_head: number[];
}

const model = async (name: string) => modelOf(await loadWeights(join(goldens, 'models', name)), name);

/** Rows whose trained predictions weigh the same, and the first few are not trained. */
function rowsOf(sequences: readonly (readonly number[])[], untrained: number): TrainingRow[] {
  const count = sequences.reduce((sum, tokens) => sum + tokens.length - 1 - untrained, 0);
  return sequences.map((tokens) => ({
    tokens,
    weights: tokens.slice(1).map((_, t) => (t < untrained ? 0 : 1 / count)),
  }));
}

const rows = rowsOf(golden.sequences, golden.untrained);

async function gradientsOf(options: DivergenceOptions | Loss, given: readonly TrainingRow[] = rows) {
  const trainer = await Trainer.create(await model('llama'), { optimizer: sgd(), maxTokensPerPass: 32 });
  const loss = 'name' in options ? options : distillation(options);
  const result = await trainer.forwardBackward(given, loss);
  const gradients = await trainer.takeGradients();
  return { ...result, norm: await gradients['model.norm.weight']!.toArray(), head: gradients['lm_head.weight']! };
}

/** Value and gradients, with what torch makes of the formula. */
async function expectGradients(
  found: Pick<Awaited<ReturnType<typeof gradientsOf>>, 'loss' | 'norm' | 'head'>,
  expected: Gradients,
) {
  const { loss, norm, head } = found;
  expectClose([loss], [expected.loss], 2e-6 * expected.loss + 1e-7);
  expectClose(norm, expected.norm, 5e-6);
  expectClose(await head.sum(1).toArray(), expected.lm_head, 5e-6);
}

beforeAll(() => setEngine(referenceEngine()));

describe('distillation from a teacher model', () => {
  it.each(golden.cases)(
    'is TRL’s generalised JSD, value and gradient: β $beta, temperature $temperature',
    async (expected) => {
      const { beta, temperature } = expected;
      const teacher = await model('mistral');
      for (const chunkSize of [100_000, 100]) {
        await expectGradients(await gradientsOf({ teacher, beta, temperature, chunkSize }), expected);
      }
    },
  );

  it.each([0, 0.3, 1])('is zero, with a gradient of zero, where the teacher is the student (β %d)', async (beta) => {
    const { loss, norm } = await gradientsOf({ teacher: await model('llama'), beta });
    expectClose([loss, ...norm], new Array(norm.length + 1).fill(0), 1e-7);
  });

  it('refuses another vocabulary and a β that is none', async () => {
    const teacher = await model('qwen3');
    await expect(gradientsOf({ teacher })).rejects.toThrow(/vocabulary of 300 tokens and the student one of 256/);
    expect(() => divergence({ teacher, beta: 2 })).toThrow(/beta is 2/);
  });
});

describe('knowledge distillation', () => {
  it.each(soft.soft_and_hard)(
    'is Hinton’s loss, value and gradient: α $alpha, temperature $temperature',
    async ({ alpha, temperature, kd_loss, nll_loss, ...expected }) => {
      const teacher = await model('mistral');
      const result = await gradientsOf(knowledgeDistillation({ teacher, alpha, temperature, chunkSize: 100 }));
      await expectGradients(result, expected);
      expectClose([result.metrics.kd_loss!, result.metrics.nll_loss!], [kd_loss, nll_loss], 5e-6);
    },
  );

  it('tends to half the variance of the difference of the logits as the temperature grows, matching them', async () => {
    const [teacher, student] = [await model('mistral'), await model('llama')];
    const temperature = 300;
    const { loss } = await gradientsOf(knowledgeDistillation({ teacher, alpha: 1, temperature }));
    const tops = await Promise.all(
      [teacher, student].map((one) => sequenceLogProbs(one, golden.sequences, { topLogProbs: 256 })),
    );
    const places = golden.sequences.flatMap((tokens, i) =>
      tokens.slice(1 + golden.untrained).map((_, t) => {
        const [taught, own] = tops.map((of) => {
          const list = of[i]!.topLogProbs![t + golden.untrained]!;
          return [...list].sort((a, b) => a.tokenId - b.tokenId).map(({ logProb }) => logProb);
        });
        const difference = taught!.map((x, id) => x - own![id]!);
        const mean = difference.reduce((a, b) => a + b, 0) / 256;
        return difference.reduce((sum, x) => sum + (x - mean) ** 2, 0) / 256 / 2;
      }),
    );
    expect(loss / (places.reduce((a, b) => a + b, 0) / places.length)).toBeCloseTo(1, 2);
  });
});

describe('distillation from top-k annotations', () => {
  it.each(soft.top_k)('with a tail is TRL’s, value and gradient: k $k, β $beta', async ({ k, beta, ...expected }) => {
    const annotated = await annotateTopK(await model('mistral'), rows, { k });
    await expectGradients(await gradientsOf({ teacher: { k }, beta, chunkSize: 100 }, annotated), expected);
  });

  it.each([0, 0.5, 1])('with all tokens is that of the whole distributions (β %d)', async (beta) => {
    const teacher = await model('mistral');
    const whole = await gradientsOf({ teacher, beta });
    const annotated = await annotateTopK(teacher, rows, { k: 256 });
    for (const rest of ['renormalize', 'tail'] as const) {
      const top = await gradientsOf({ teacher: { k: 256, rest }, beta, chunkSize: 100 }, annotated);
      expectClose([top.loss], [whole.loss], 1e-5);
      expectClose(top.norm, whole.norm, 1e-5);
    }
  });

  it('with a tail, merging outcomes only ever takes divergence away', async () => {
    const teacher = await model('mistral');
    for (const beta of [0, 0.5, 1]) {
      const losses: number[] = [];
      for (const k of [1, 4, 32, 128]) {
        const annotated = await annotateTopK(teacher, rows, { k });
        losses.push((await gradientsOf({ teacher: { k }, beta }, annotated)).loss);
      }
      losses.push((await gradientsOf({ teacher, beta })).loss);
      expect(losses).toEqual([...losses].sort((a, b) => a - b));
      expect(losses[0]!).toBeGreaterThan(0);
    }
  });

  it('is refused for rows without the annotations, or of another k', async () => {
    const annotated = await annotateTopK(await model('mistral'), rows, { k: 3 });
    await expect(gradientsOf({ teacher: { k: 3 } })).rejects.toThrow(/row 0: lacks the annotation teacher_ids/);
    await expect(gradientsOf({ teacher: { k: 4 } }, annotated)).rejects.toThrow(
      /teacher_ids has 12 entries for 4 pred.*of 4/,
    );
  });

  it('teaches a student the teacher’s own probabilities', async () => {
    const [teacher, student] = [await tinyModel('llama', 1), await tinyModel('llama', 2)];
    const sequences = [
      [5, 6, 7, 8],
      [9, 2, 3, 1],
    ];
    const annotated = await annotateTopK(teacher, rowsOf(sequences, 0), { k: 8 });
    const trainer = await Trainer.create(student, { optimizer: adamW() });
    const loss = distillation({ teacher: { k: 8 }, beta: 0 });
    const losses: number[] = [];
    for (let step = 0; step < 120; step++) {
      losses.push((await trainer.forwardBackward(annotated, loss)).loss);
      await trainer.optimStep({ learningRate: step < 80 ? 0.01 : 0.002 });
    }
    expect(losses.at(-1)!).toBeLessThan(losses[0]! / 50);
    // Of the tokens that are annotated, in the order of the annotation.
    const probabilities = async (from: typeof teacher) => {
      const scored = await sequenceLogProbs(from, sequences, { topLogProbs: 40 });
      return annotated.flatMap(({ annotations }, i) =>
        Array.from(annotations!.teacher_ids!, (id, t) => {
          const place = scored[i]!.topLogProbs![Math.floor(t / 8)]!;
          return Math.exp(place.find(({ tokenId }) => tokenId === id)!.logProb);
        }),
      );
    };
    expectClose(await probabilities(trainer.model), await probabilities(teacher), 0.05);
  });
});

describe('distill', () => {
  let folder: string;
  beforeAll(async () => {
    setEngine(onnxruntimeEngine());
    folder = await mkdtemp(join(tmpdir(), 'distill-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  /** Three letters, and four more that have nothing to do with them. */
  function prompts(seed: number, count: number): DistillRow[] {
    const draw = drawing(seed);
    const word = (length: number) => Array.from({ length }, () => 'abcdefg'[Math.floor(draw() * 7)]).join('');
    return Array.from({ length: count }, () => ({ prompt: word(3), completion: word(4) }));
  }
  const questions = (seed: number, count: number) => prompts(seed, count).map(({ prompt }) => ({ prompt: prompt! }));
  const teacher = lettersModel(20, 0.5);
  const run = async (more: Partial<DistillOptions> = {}) =>
    distill({
      ...{ model: await lettersModel(1), teacher: await teacher, rows: prompts(2, 16) },
      ...{ learningRate: 0.01, maxCompletionLength: 8, onWarning: () => {}, ...more },
    });
  const losses = ({ history }: Awaited<ReturnType<typeof run>>) => history.map(({ metrics }) => metrics.loss!);

  it('comes nearer to the teacher on held-out prompts, both ways, and fine-tuning on other text does not', async () => {
    const held = questions(90, 24);
    const rowsFrom = async (model: CausalLM, seed: number): Promise<TrainingRow[]> => {
      const requests = held.map(({ prompt }, i) => ({ prompt, maxTokens: 8, seed: 1000 * seed + i }));
      const completions = await new LocalGenerator(model).generate(requests);
      const sequences = held.map(({ prompt }, i) => [
        ...model.tokenizer.encode(prompt as string),
        ...completions[i]![0]!.tokenIds!,
      ]);
      return rowsOf(sequences, 2);
    };
    const gains: Record<'forward' | 'reverse', number[]> = { forward: [], reverse: [] };
    for (const seed of [1, 2, 3]) {
      const model = await lettersModel(seed);
      const shared = { model, learningRate: 0.02, steps: 30, batchSize: 8, seed };
      const trained = await run({ ...shared, rows: questions(seed, 64), lmbda: 1, beta: 1, temperature: 1 });
      const control = await sft({ ...shared, rows: prompts(seed, 64) as never, onWarning: () => {} });
      const taught = await rowsFrom(await teacher, seed);
      const distances = async (trainer: Trainer) => ({
        forward: (await trainer.evaluate(taught, distillation({ teacher: await teacher, beta: 0 }))).loss,
        reverse: (
          await trainer.evaluate(await rowsFrom(trainer.model, seed), distillation({ teacher: await teacher, beta: 1 }))
        ).loss,
      });
      const before = await distances(await Trainer.create(model, { optimizer: sgd() }));
      const [ours, others] = [await distances(trained.trainer), await distances(control.trainer)];
      for (const way of ['forward', 'reverse'] as const) {
        expect(ours[way]).toBeLessThan(before[way] / 2);
        gains[way].push(others[way] - ours[way]);
      }
    }
    expect(gainOf(gains.forward).low).toBeGreaterThan(0);
    expect(gainOf(gains.reverse).low).toBeGreaterThan(0);
  });

  it.each([
    ['an adapter, sampled and given batches', { lmbda: 0.5 }],
    ['the teacher’s completions, from its 3 likeliest tokens', { lmbda: 0.5, seqKd: true, topK: 3 }],
  ] as const)('killed and resumed, ends with the weights of a run that was not: %s', async (name, options) => {
    const outputFolder = join(folder, name);
    const model = await lettersModel(4);
    const adapter = await createAdapter(
      model,
      lora,
      { r: 2, targetModules: 'all-linear', loraDropout: 0.1 },
      { seed: 1 },
    );
    const shared = {
      model,
      adapter,
      ...options,
      steps: 6,
      batchSize: 4,
      evaluationRows: questions(7, 4),
      evaluateEvery: 2,
    };
    const straight = await run(shared);
    const kinds = straight.history.flatMap(({ metrics }) => metrics.on_policy ?? []);
    expect(new Set(kinds)).toEqual(new Set([0, 1]));
    const killed = run({
      ...{ ...shared, outputFolder, saveSteps: 1 },
      afterStep: ({ step }) => {
        if (step === 3) throw new Error('killed');
      },
    });
    await expect(killed).rejects.toThrow('killed');
    const resumed = await run({ ...shared, outputFolder, saveSteps: 1, resume: true });
    expect(await contents(resumed.trainer)).toEqual(await contents(straight.trainer));
    const numbers = ({ history }: typeof resumed) =>
      history.map(({ step, metrics: { step_time: _, ...metrics } }) => ({ step, metrics }));
    expect(numbers(resumed)).toEqual(numbers(straight));
    const other = run({ ...shared, outputFolder, resume: true, teacher: await lettersModel(21) });
    await expect(other).rejects.toThrow(/teacher.model.weights was \w+ and is \w+/);
    expect(() => distillOptions.read({ ...shared, rows: [], teacher: model, alpha: 2 })).toThrow(/alpha is 2/);
    const changed: Partial<DistillOptions> = {
      ...{ lmbda: 0.6, beta: 0.4, temperature: 1, divergenceTemperature: 2, topK: 2, seqKd: !('seqKd' in options) },
      ...{ maxCompletionLength: 7, maxLength: 31, batchSize: 5, steps: 7, learningRate: 0.02 },
    };
    for (const [option, value] of Object.entries(changed)) {
      const wrong = run({ ...shared, outputFolder, resume: true, [option]: value });
      await expect(wrong).rejects.toThrow(new RegExp(`[ ;]${option} was .* and is ${value}`));
    }
    // Those of every training have their cases in runs.test.ts.
    const own = Object.entries(distillOptions.shape).filter(([name]) => !Object.hasOwn(trainingShape, name));
    expect(own.flatMap(([option, { decisive }]) => (decisive ? option : [])).sort()).toEqual(
      // α needs data only: below.
      ['alpha', ...Object.keys(changed)].sort(),
    );
  });

  it('with λ 0 is distillation on the data, row by row', async () => {
    const { history } = await run({ lmbda: 0, epochs: 1, batchSize: 16, beta: 0.3, divergenceTemperature: 2 });
    const model = await lettersModel(1);
    const sequences = prompts(2, 16).map(({ prompt, completion }) =>
      model.tokenizer.encode(`${prompt}${completion}</s>`),
    );
    const trainer = await Trainer.create(model, { optimizer: sgd() });
    const loss = distillation({ teacher: await teacher, beta: 0.3, temperature: 2 });
    expect(history[0]!.metrics.loss).toBeCloseTo((await trainer.evaluate(rowsOf(sequences, 2), loss)).loss, 6);
    expect(history[0]!.metrics).toMatchObject({ on_policy: 0, completion_length: 5 });
  });

  it('has nothing to learn from itself, and the same from all of the teacher’s tokens as from its logits', async () => {
    const own = await run({ teacher: await lettersModel(1), optimizer: sgd(), lmbda: 1, steps: 2 });
    for (const loss of losses(own)) expect(Math.abs(loss)).toBeLessThan(1e-6);
    const [whole, annotated] = [await run({ lmbda: 1, steps: 3 }), await run({ lmbda: 1, steps: 3, topK: 8 })];
    expectClose(losses(annotated), losses(whole), 1e-4);
    expect(losses(whole)[0]).toBeGreaterThan(0.01);
  });

  it('samples from whom it says: the student’s samples are likely to it, the teacher’s to the teacher', async () => {
    // A teacher that is sure of its tokens ends elsewhere than a student that is not.
    const lengths = async (options: Partial<DistillOptions>) =>
      (await run({ ...options, steps: 2, learningRate: 0, rows: questions(3, 32), batchSize: 32 })).history.map(
        ({ metrics }) => metrics.completion_length!,
      );
    const [student, ofTeacher] = [await lengths({ lmbda: 1 }), await lengths({ lmbda: 0, seqKd: true })];
    const self = await lengths({ lmbda: 1, model: await teacher });
    expect(ofTeacher).toEqual(self);
    expect(student).not.toEqual(ofTeacher);
  });

  it('with labels is Hinton’s loss on the data, which a resumed run must share', async () => {
    const shared = { outputFolder: join(folder, 'labels'), saveSteps: 1, lmbda: 0, steps: 1, batchSize: 16 };
    const hinton = { alpha: 0.7, beta: 0, divergenceTemperature: 2 };
    const { history } = await run({ ...shared, ...hinton });
    const { loss, kd_loss, nll_loss } = history[0]!.metrics;
    expect(loss).toBeCloseTo(0.7 * kd_loss! + 0.3 * nll_loss!, 6);
    const start = await Trainer.create(await lettersModel(1), { optimizer: sgd() });
    const sequences = prompts(2, 16).map(({ prompt, completion }) =>
      start.model.tokenizer.encode(`${prompt}${completion}</s>`),
    );
    const { loss: nll } = await start.evaluate(rowsOf(sequences, 2), negativeLogLikelihood);
    expect(nll_loss).toBeCloseTo(nll, 6);
    const other = run({ ...shared, ...hinton, alpha: 0.6, resume: true });
    await expect(other).rejects.toThrow(/alpha was 0.7 and is 0.6/);
  });

  it('refuses what it cannot train on', async () => {
    /** As large a vocabulary, in which the third letter is another one. */
    const renamed = async () => {
      const own = await lettersModel(3);
      const files = own.tokenizer.files();
      const { vocab, ...bpe } = files.tokenizer.model as { vocab: Record<string, number> };
      const other = Object.fromEntries(Object.entries(vocab).map(([token, id]) => [token === 'c' ? 'C' : token, id]));
      const tokenizer = new Tokenizer({ ...files, tokenizer: { ...files.tokenizer, model: { ...bpe, vocab: other } } });
      return CausalLM.initialize({ config: own.config, tokenizer, name: 'renamed' }, 3);
    };
    for (const [options, said] of [
      [{ rows: questions(3, 2) }, /row 0: has no completion.*lmbda: 1/],
      [
        { rows: [{ completion: 'a' }] as never },
        /row 0: prompt must be a text or a list of messages, and is undefined; its columns are completion/,
      ],
      [
        { rows: [{ prompt: 'a'.repeat(40), completion: 'a' }] },
        /row 0: its prompt has 40 tokens, and maxLength 32 leaves no room/,
      ],
      [{ maxLength: 33 }, /maxLength is 33; student and teacher hold 32 tokens/],
      [{ teacher: await tinyModel('llama') }, /teacher has a vocabulary of 40 tokens and the student one of 8/],
      [{ teacher: await tinyModel('llama'), topK: 2 }, /vocabulary of 40 tokens and the student one of 8/],
      [{ teacher: await renamed() }, /another tokenizer than the student: token 2 is "C" in the one and "c".*sft/],
      [{ alpha: 0.5 }, /alpha weighs the labels of the data, and with lmbda 0.5 .*lmbda: 0/],
      [{ max_new_tokens: 3 } as never, /maxCompletionLength/],
      [{ lmbda: 2 }, /lmbda is 2/],
    ] as const) {
      await expect(run({ steps: 1, ...options }), String(said)).rejects.toThrow(said);
    }
  });
});

describe('distilling step-by-step', () => {
  it.each(soft.step_by_step)('is two cross-entropies, value and gradient: λ $weight', async (expected) => {
    const { weight, label_loss, rationale_loss, ...gradients } = expected;
    const [label, ...rationales] = soft.sequences.map((tokens) => ({
      tokens,
      mask: tokens.map((_, t) => (t > soft.untrained ? 1 : 0)),
    }));
    // One question with a label, and two rationales of it.
    const [first] = stepByStepRows([{ label: label! }], weight);
    const others = stepByStepRows(
      rationales.map((rationale) => ({ label: label!, rationale })),
      weight,
    ).slice(2);
    const all = [first!, ...others];
    const trainer = await Trainer.create(await model('llama'), { optimizer: sgd() });
    const { loss, metrics } = await trainer.forwardBackward(all, stepByStepLoss);
    const found = await trainer.takeGradients();
    const norm = await found['model.norm.weight']!.toArray();
    await expectGradients({ loss, norm, head: found['lm_head.weight']! }, gradients);
    expectClose([metrics.label_loss!, metrics.rationale_loss!], [label_loss, rationale_loss], 5e-6);
  });

  const questions = Array.from({ length: 6 }, (_, i) => ({
    prompt: 'abcdef'[i]!,
    label: 'gfedcb'[i]!,
    rationale: i === 2 ? null : 'abc'.repeat(1 + (i % 2)),
  }));
  const run = async (more: Partial<StepByStepOptions> = {}) => {
    setEngine(onnxruntimeEngine());
    const prefixes = { labelPrefix: 'a', rationalePrefix: 'b' };
    const shared = { model: await lettersModel(1), rows: questions, ...prefixes, batchSize: 4, steps: 4 };
    return distillStepByStep({ ...shared, learningRate: 0.02, onWarning: () => {}, ...more });
  };
  const losses = ({ history }: { history: readonly { metrics: Record<string, number> }[] }, name = 'loss') =>
    history.map(({ metrics }) => metrics[name]!);

  it('with λ 0 is fine-tuning on the labels, and with λ learns both', async () => {
    const labels = questions.map(({ prompt, label }) => ({ prompt: `a${prompt}`, completion: label }));
    const shared = { model: await lettersModel(1), rows: labels, batchSize: 4, steps: 4, learningRate: 0.02 };
    const plain = await sft({ ...shared, onWarning: () => {} });
    expectClose(losses(await run({ rationaleWeight: 0 })), losses(plain), 1e-6);
    const both = await run({ steps: 30 });
    for (const name of ['label_loss', 'rationale_loss']) {
      expect(losses(both, name).at(-1)!).toBeLessThan(losses(both, name)[0]! / 2);
    }
    const [first] = both.history;
    expect(first!.metrics.loss).toBeCloseTo(first!.metrics.label_loss! + first!.metrics.rationale_loss!, 5);
  });

  it('refuses rows that it cannot learn from', async () => {
    for (const [options, said] of [
      [{ rows: [{ prompt: 'a', label: 'b' }] }, /no row has a rationale; give some, or rationaleWeight: 0/],
      [{ rows: [questions[0]!, { prompt: 'a' }] as never }, /row 1: its label must be a text that is not empty/],
      [{ rows: [{ ...questions[0]!, rationale: '' }] }, /row 0: its rationale must be a text/],
      [
        { rows: [{ ...questions[0]!, prompt: 'abc'.repeat(9) }], maxLength: 8 },
        /row 0: no token of its label is within/,
      ],
      [{ rows: [{ ...questions[0]!, prompt: [{ role: 'user', content: 'a' }] }] }, /row 0: .*chat template/],
      [{ rationaleWeight: -1 }, /rationaleWeight is -1/],
    ] as const) {
      await expect(run(options), String(said)).rejects.toThrow(said);
    }
  });
});

describe('a teacher on disk', () => {
  let folder: string;
  beforeAll(async () => {
    setEngine(onnxruntimeEngine());
    folder = await mkdtemp(join(tmpdir(), 'teacher-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const draw = drawing(5);
  const word = (length: number) => Array.from({ length }, () => 'abcdefg'[Math.floor(draw() * 7)]).join('');
  const rows = Array.from({ length: 9 }, (_, i): DistillRow => ({ prompt: word(2 + (i % 3)), completion: word(4) }));
  const teacher = lettersModel(20, 0.5);
  const store = async (name: string, more: Partial<StoreTeacherTopKOptions> = {}) =>
    storeTeacherTopK({ teacher: await teacher, rows, k: 3, batchSize: 2, file: join(folder, name), ...more });
  const train = async (by: CausalLM | TeacherFile, more: Partial<DistillOptions> = {}) => {
    const shared = { model: await lettersModel(1), rows, lmbda: 0, batchSize: 4, steps: 5, learningRate: 0.02 };
    return distill({ ...shared, teacher: by, onWarning: () => {}, ...more });
  };
  const losses = ({ history }: Awaited<ReturnType<typeof train>>) => history.map(({ metrics }) => metrics.loss!);

  it('teaches what the teacher itself does: exactly in float32, nearly in float16', async () => {
    for (const [logProbs, beta] of [
      ['float32', 0.5],
      ['float16', 0],
      ['float16', 1],
    ] as const) {
      const file = await store(`${logProbs} ${beta}`, { logProbs });
      const [live, stored] = [await train(await teacher, { topK: 3, beta }), await train(file, { beta })];
      if (logProbs === 'float32') expect(losses(stored)).toEqual(losses(live));
      else expectClose(losses(stored), losses(live), 1e-3 * losses(live)[0]!);
      await file[Symbol.asyncDispose]();
    }
  });

  it('takes as many bytes as it says, and keeps the probability of the tail', async () => {
    const file = await store('bytes');
    const tokens = (await teacher).tokenizer.encode(`${rows[0]!.prompt}${rows[0]!.completion}</s>`);
    const { teacher_log_probs } = await file.annotations(0, tokens);
    const [scored] = await sequenceLogProbs(await teacher, [tokens], { topLogProbs: 3 });
    const sums = (values: readonly number[]) => values.reduce((sum, x) => sum + Math.exp(x), 0);
    scored!.topLogProbs!.forEach((place, t) => {
      const own = Array.from(teacher_log_probs.subarray(3 * t, 3 * t + 3));
      expect(sums(own)).toBeCloseTo(sums(place.map(({ logProb }) => logProb)), 6);
      expectClose(
        own,
        place.map(({ logProb }) => logProb),
        2e-3,
      );
    });
    const { size } = await stat(file.path);
    const predictions = rows.reduce((sum, { prompt, completion }) => sum + prompt!.length + completion!.length, 0);
    const [index, records] = [8 * 9 + 16, 12 * 9 + predictions * (4 * 3 + 4)];
    const header = (await readFile(file.path)).readUInt32LE(8);
    expect(size).toBe(12 + header + records + index);
    await file.close();
  });

  it('of a call that was killed is not there, and the next call goes on and writes the same bytes', async () => {
    const whole = await store('whole');
    await whole.close();
    const expected = await readFile(whole.path);
    const file = join(folder, 'killed');
    for (const after of [1, 3]) {
      const stop = new AbortController();
      let batches = 0;
      const onProgress = () => {
        batches++;
        if (batches === after) stop.abort(new Error('killed'));
      };
      await expect(store('killed', { signal: stop.signal, onProgress })).rejects.toThrow('killed');
      await expect(TeacherFile.open(file)).rejects.toThrow(/is not finished: call storeTeacherTopK.*again/);
    }
    await expect(store('killed', { k: 2 })).rejects.toThrow(/k was 3 and is 2/);
    await expect(store('killed', { teacher: await lettersModel(21) })).rejects.toThrow(
      /teacher.model.weights was \w+ and/,
    );
    await expect(store('killed', { rows: [...rows].reverse() })).rejects.toThrow(/row 0 is of other tokens/);
    // A record that is cut off is written again.
    await truncate(`${file}.partial`, (await stat(`${file}.partial`)).size - 5);
    const scored: number[] = [];
    const resumed = await store('killed', { onProgress: ({ done }) => scored.push(done) });
    expect(await readFile(resumed.path)).toEqual(expected);
    // 8 rows were whole before the last one was cut: 7 are passed over.
    expect(scored).toEqual([9]);
    await resumed.close();
    const again = await store('killed', { onProgress: () => expect.fail('runs the teacher again') });
    expect(again.count).toBe(9);
    await again.close();
    await expect(store('killed', { temperature: 2 })).rejects.toThrow(/temperature was 1 and is 2/);
  });

  it('whatever byte of it is wrong is found, or was of no use', async () => {
    const whole = await store('mutated');
    const texts = rows.map(({ prompt, completion }) => `${prompt}${completion}</s>`);
    const { tokenizer } = await teacher;
    const readAll = async (file: TeacherFile) =>
      Promise.all(texts.map((text, i) => file.annotations(i, tokenizer.encode(text))));
    const expected = await readAll(whole);
    await whole.close();
    const bytes = await readFile(whole.path);
    const path = join(folder, 'mutant');
    let refused = 0;
    for (let at = 0; at < bytes.length; at += 7) {
      const mutant = at % 2 === 0 ? bytes.subarray(0, at) : Buffer.from(bytes);
      if (at % 2 === 1) mutant[at]! ^= 1 << (at % 8);
      await writeFile(path, mutant);
      try {
        const file = await TeacherFile.open(path);
        try {
          expect(await readAll(file)).toEqual(expected);
        } finally {
          await file.close();
        }
      } catch (error) {
        if (!(error instanceof TeacherFileError)) throw error;
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(bytes.length / 7 / 2);
  });

  it('refuses what it does not know', async () => {
    const file = await store('refused');
    for (const [options, said] of [
      [{ lmbda: 0.5 }, /lmbda: is 0.5, and a teacher on disk knows the rows that it was run on and no others/],
      [{ seqKd: true }, /seqKd: .*cannot be sampled from/],
      [{ evaluationRows: rows }, /evaluationRows: .*evaluate with the teacher itself/],
      [{ topK: 2 }, /topK: is 2, and .* has 3 tokens/],
      [{ divergenceTemperature: 2 }, /divergenceTemperature: is 2, and .* was written at 1/],
      [{ rows: rows.slice(3) }, /row \d is of other tokens: the file was written for other rows/],
      [
        { rows: [...rows, { prompt: 'ab', completion: 'c' }], batchSize: 10 },
        /row 9 is not there; the file has 9 rows/,
      ],
    ] as const) {
      await expect(train(file, options), String(said)).rejects.toThrow(said);
    }
    await file.close();
    await expect(store('k', { k: 9 })).rejects.toThrow(/k is 9, and the teacher's vocabulary has 8 tokens/);
    await expect(store('none', { rows: [] })).rejects.toThrow(/no rows to store/);
    await expect(store('lacking', { rows: [{ prompt: 'ab' }] })).rejects.toThrow(/row 0: has no completion/);
    await expect(TeacherFile.open(join(folder, 'absent'))).rejects.toThrow(/cannot be read \(ENOENT\)/);
  });
});
