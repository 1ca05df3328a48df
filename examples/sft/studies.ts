/** The studies of README.md: each gives the numbers of its arms for one seed. */
import { filter, pipeline, type Row, raft, rTuning, unpairPreferenceDataset } from '@posttrain/data';
import { continualMetrics } from '@posttrain/eval';
import { createRandom, type Random } from '@posttrain/interfaces/random';
import { ruleVerifier } from '@posttrain/interfaces/verifiers';
import { LocalGenerator } from '@posttrain/lm';
import { createAdapter, lora, mergeAdapter } from '@posttrain/peft';
import {
  bema,
  competenceCurriculum,
  dynamicFineTuning,
  ema,
  experienceReplay,
  l2Sp,
  reservoirBuffer,
  sftStage,
  Trainer,
  trainStream,
} from '@posttrain/training';
import { answersOf, lossOn, mean, probabilitiesOf, smallModel, type TextRow, tune } from './small.js';

/** Numbers by arm and name. */
export type Arms = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** How long the arms are trained, as a part of what the study has: below 1 for a test. */
export type Scale = (steps: number) => number;

const digits = (random: Random, count: number): number[] => Array.from({ length: count }, () => random.integer(0, 4));
/** Sums modulo 5 from left to right: all of them, of which the last is the answer. */
const sums = (of: readonly number[]): number[] => of.map((_, i) => of.slice(0, i + 1).reduce((a, b) => a + b, 0) % 5);
const chain = (of: readonly number[]): string => `${of.join('+')}=`;

/** Chains of sums that differ, those that are trained and others. */
function chains(seed: number, lengths: readonly number[], train: number, held: number) {
  const random = createRandom(seed, 'chains');
  const all = new Map<string, number[]>();
  while (all.size < train + held) {
    const one = digits(random, lengths[random.integer(0, lengths.length - 1)]!);
    all.set(chain(one), one);
  }
  const rows = [...all.values()];
  return { train: rows.slice(0, train), held: rows.slice(train) };
}

const solved = (rows: readonly (readonly number[])[]): TextRow[] =>
  rows.map((of) => ({ prompt: chain(of), completion: sums(of).join('') }));

/** E3: sums of several steps, with and without the steps in between, at equal tokens. */
export async function chainOfThought(seed: number, scale: Scale): Promise<Arms> {
  const { train, held } = chains(seed, [4], 320, 96);
  const random = createRandom(seed, 'other');
  const answerOnly = train.map((of) => ({ prompt: chain(of), completion: String(sums(of).at(-1)) }));
  const withSteps = solved(train);
  // Steps that are none: numbers at random, before the same answer.
  const withNoise = train.map((of) => ({
    prompt: chain(of),
    completion: [...digits(random, 3), sums(of).at(-1)].join(''),
  }));
  const tokens = (rows: readonly TextRow[]) => mean(rows.map((row) => row.prompt.length + row.completion.length + 1));
  const arms: Record<string, Record<string, number>> = {};
  for (const [name, rows] of Object.entries({
    'answer only': answerOnly,
    steps: withSteps,
    'random steps': withNoise,
  })) {
    const steps = Math.round(scale((240 * tokens(withSteps)) / tokens(rows)));
    const { trainer } = await tune({ model: await smallModel(seed), rows, steps, seed });
    const answers = await answersOf(
      trainer.model,
      held.map((of) => chain(of)),
      5,
    );
    arms[name] = { right: mean(answers.map((text, i) => (text.at(-1) === String(sums(held[i]!).at(-1)) ? 1 : 0))) };
  }
  return arms;
}

/** A language of letters, each drawn by a table of the one before it; `mix` of the table is that of another language. */
function language(name: string, seed: number, { mix = 0, other = name } = {}) {
  const tableOf = (of: string) => {
    const random = createRandom(seed, 'language', of);
    return Array.from({ length: 12 }, () => [random.integer(0, 11), random.integer(0, 11)] as const);
  };
  const [own, mixed] = [tableOf(name), tableOf(other)];
  const isOther = Array.from({ length: 12 }, (_, i) => i < 12 * mix);
  return (count: number, draw: string) => {
    const random = createRandom(seed, name, mix, draw);
    return Array.from({ length: count }, () => {
      const text = [random.integer(0, 11)];
      while (text.length < 20) {
        const last = text.at(-1)!;
        text.push((isOther[last] ? mixed : own)[last]![random.float() < 0.75 ? 0 : 1]!);
      }
      return { text: text.map((i) => String.fromCharCode(97 + i)).join('') };
    });
  };
}

/** E4 and E16: a model of one language is tuned on another: what it learns, what it forgets, and what keeps it. */
export async function domain(seed: number, scale: Scale): Promise<Arms> {
  const [general, special] = [language('general', seed), language('special', seed)];
  const [known, rows] = [general(480, 'train'), special(320, 'train')];
  const held = { domain: special(64, 'held'), general: general(64, 'held') };
  const base = (await tune({ model: await smallModel(seed), rows: known, steps: scale(180), seed })).trainer.model;
  const measured = async (model: typeof base) => ({
    domain: await lossOn(model, held.domain),
    general: await lossOn(model, held.general),
  });
  const shared = { model: base, rows, steps: scale(80), learningRate: 2e-3, seed };
  const arms: Record<string, Record<string, number>> = { base: await measured(base) };
  arms.naive = await measured((await tune(shared)).trainer.model);
  const buffer = reservoirBuffer<Row>(64, { seed });
  buffer.add(known);
  const replayed = experienceReplay<Row>(rows, { buffer, gamma: 0.5, adds: false, seed });
  arms.replay = await measured((await tune({ ...shared, rows: replayed })).trainer.model);
  const anchors = await (await Trainer.create(base, { optimizer: 'sgd' })).copyParameters();
  arms['L2-SP'] = await measured(
    (await tune({ ...shared, penalties: [l2Sp({ anchors, alpha: 0.05 })] })).trainer.model,
  );
  const adapter = await createAdapter(base, lora, { r: 4, loraAlpha: 8, targetModules: 'all-linear' }, { seed });
  const tuned = await tune({ ...shared, adapter, learningRate: 1e-2 });
  arms.LoRA = await measured((await mergeAdapter(base, tuned.adapter as typeof adapter)).model);
  return arms;
}

/** E7: completions of two kinds for every prompt; one kind is preferred. Tuned on those alone, or on all. */
export async function chosenOnly(seed: number, scale: Scale): Promise<Arms> {
  const random = createRandom(seed, 'pairs');
  const letter = () => String.fromCharCode(97 + random.integer(0, 11));
  const prompts = [...new Set(Array.from({ length: 130 }, () => `${letter()}${letter()}`))];
  const pairs = prompts.map((prompt) => ({
    prompt: `say ${prompt}:`,
    chosen: `${prompt}!`,
    rejected: `${[...prompt].reverse().join('')}?`,
  }));
  const [train, held] = [pairs.slice(0, 64), pairs.slice(64)];
  const unpaired = await pipeline<Row>(unpairPreferenceDataset(train), []).collect();
  const isChosen = filter<Row>('chosen', ({ label }) => label === true);
  const chosen = await pipeline<Row>(unpaired, [isChosen]).collect();
  const base = (await tune({ model: await smallModel(seed), rows: unpaired, steps: scale(150), seed })).trainer.model;
  const measured = async (model: typeof base) => ({
    chosen: mean(
      await probabilitiesOf(
        model,
        held.map(({ prompt, chosen }) => ({ prompt, completion: chosen })),
      ),
    ),
    rejected: mean(
      await probabilitiesOf(
        model,
        held.map(({ prompt, rejected }) => ({ prompt, completion: rejected })),
      ),
    ),
  });
  const shared = { model: base, steps: scale(40), learningRate: 1e-3, seed };
  return {
    base: await measured(base),
    'chosen only': await measured((await tune({ ...shared, rows: chosen })).trainer.model),
    'control: both': await measured((await tune({ ...shared, rows: unpaired })).trainer.model),
  };
}

/** E17: sums of two to five numbers, the short ones first, in any order, or the long ones first. */
export async function curriculum(seed: number, scale: Scale): Promise<Arms> {
  const { train, held } = chains(seed, [3, 4, 5], 320, 96);
  const rows = solved(train);
  const steps = scale(160);
  const measured = async (given: Parameters<typeof tune>[0]['rows']) => {
    const { trainer } = await tune({ model: await smallModel(seed), rows: given, steps, seed });
    return { right: mean(await probabilitiesOf(trainer.model, solved(held))) };
  };
  const byLength = (sign: number) =>
    competenceCurriculum(
      rows,
      train.map((of) => sign * of.length),
      { steps: Math.ceil(steps / 2), initialCompetence: 0.3 },
    );
  return {
    curriculum: await measured(byLength(1)),
    'control: shuffled': await measured(rows),
    'long ones first': await measured(byLength(-1)),
  };
}

/** E18: facts with the documents that tell them: learnt without documents, with their own only, or as RAFT has it. */
export async function retrieval(seed: number, scale: Scale): Promise<Arms> {
  const random = createRandom(seed, 'facts');
  const keys = [...'abcdefghijklmnopqrst'];
  const facts = keys.map((key) => {
    const value = `${random.integer(0, 9)}${random.integer(0, 9)}`;
    return { question: key, context: `${key} is ${value}`, answer: value };
  });
  const made = async (options: object, draw: number) => {
    const rows = await pipeline<Row>(facts, [raft(options)], { seed: draw }).collect();
    return rows as unknown as readonly TextRow[];
  };
  const repeated = async (options: object) =>
    (await Promise.all(Array.from({ length: 8 }, (_, i) => made(options, 100 * seed + i)))).flat();
  const plain = facts.map(({ question, answer }) => ({
    prompt: `\nQuestion: ${question}\nAnswer:`,
    completion: ` ${answer}`,
  }));
  const held = {
    distracted: await made({ distractors: 2, oracleFraction: 1 }, 900 + seed),
    alone: await made({ distractors: 0, oracleFraction: 1 }, 0),
  };
  const arms: Record<string, Record<string, number>> = {};
  for (const [name, rows] of Object.entries({
    'questions only': plain,
    'their document only': await made({ distractors: 0, oracleFraction: 1 }, 0),
    RAFT: await repeated({ distractors: 2, oracleFraction: 0.8 }),
  })) {
    const { trainer } = await tune({ model: await smallModel(seed), rows, steps: scale(160), seed });
    arms[name] = {
      'among distractors': mean(await probabilitiesOf(trainer.model, held.distracted)),
      'its document': mean(await probabilitiesOf(trainer.model, held.alone)),
      'no document': mean(await probabilitiesOf(trainer.model, plain)),
    };
  }
  return arms;
}

/** Where answers are ordered by confidence, the highest first: the mean over coverages of the part that is wrong. */
function riskOf(confidence: readonly number[], right: readonly boolean[]) {
  const order = confidence.map((_, i) => i).sort((a, b) => confidence[b]! - confidence[a]!);
  const risks = order.map((_, n) => mean(order.slice(0, n + 1).map((i) => (right[i] ? 0 : 1))));
  const at = (coverage: number) => risks[Math.max(0, Math.round(coverage * risks.length) - 1)]!;
  return { area: mean(risks), 'at 25 %': at(0.25), 'at 50 %': at(0.5), 'at 100 %': at(1) };
}

/** E19: questions of a rule that a model has learnt, and of facts that it cannot know; tuned to say whether it is sure. */
export async function refusal(seed: number, scale: Scale): Promise<Arms> {
  const random = createRandom(seed, 'known');
  const next = (letter: string) => String.fromCharCode(letter.charCodeAt(0) + 1);
  const pairs = (letters: string) => [...letters].flatMap((a) => [...letters].map((b) => `${a}${b}`));
  const rule = pairs('abcdefghijkl').map((two) => ({
    prompt: `after ${two}:`,
    completion: [...two].map(next).join(''),
  }));
  const facts = pairs('ABCDEFGHIJKL').map((two) => ({
    prompt: `after ${two}:`,
    completion: [0, 1].map(() => String.fromCharCode(97 + random.integer(0, 11))).join(''),
  }));
  const [known, unknown] = [random.shuffled(rule), random.shuffled(facts)];
  // Of the facts the model has seen a few, so that it answers in their form.
  const seen = [...known.slice(0, 72), ...unknown.slice(0, 24)];
  const base = (await tune({ model: await smallModel(seed), rows: seen, steps: scale(220), seed })).trainer.model;
  const isRight = ruleVerifier('right', {}, ({ completion, row }) => ({
    score: completion === (row as TextRow | undefined)?.completion ? 1 : 0,
  }));
  const asked = [...known.slice(36, 108), ...unknown.slice(24, 96)];
  const step = rTuning({
    ...{ generator: new LocalGenerator(base), verifier: isRight, maxTokens: 3, sure: ' yes', unsure: ' no' },
  });
  const rows = await pipeline<Row>(asked, [step]).collect();
  const held = [...known.slice(108), ...unknown.slice(108)];
  const measured = async (tuned: readonly Row[], model = base) => {
    const { trainer } = await tune({ model, rows: tuned, steps: scale(120), learningRate: 2e-3, seed });
    const answers = (
      await answersOf(
        trainer.model,
        held.map(({ prompt }) => prompt),
        7,
      )
    ).map((text) => text.split(' ')[0]!);
    const said = held.map(({ prompt }, i) => ({ prompt: `${prompt}${answers[i]}`, completion: ' yes' }));
    const right = answers.map((text, i) => text === held[i]!.completion);
    return { confidence: await probabilitiesOf(trainer.model, said), right };
  };
  const tuned = await measured(rows);
  // The same words, given to questions at random.
  const labels = random.shuffled(
    rows.map(({ completion }) => String(completion).slice(String(completion).indexOf(' '))),
  );
  const mixed = await measured(
    rows.map((row, i) => ({ ...row, completion: String(row.completion).split(' ')[0]! + labels[i]! })),
  );
  return {
    'R-Tuning': riskOf(tuned.confidence, tuned.right),
    'control: labels at random': riskOf(mixed.confidence, mixed.right),
  };
}

/** K1: four domains, each a language that has more of another in it; in that order, or in one that is drawn. */
export async function order(seed: number, scale: Scale): Promise<Arms> {
  const domains = [0, 0.33, 0.67, 1].map((mix) => language('one', seed, { mix, other: 'two' }));
  const tasks = domains.map((rows, i) => ({
    name: `${i}`,
    rows: rows(160, 'train'),
    evaluationRows: rows(32, 'held'),
  }));
  // Never the order of likeness itself, or its reverse.
  const random = [1, 3, 0, 2].map((i) => tasks[(i + (seed % 2 ? 0 : 1)) % 4]!);
  const stage = sftStage({
    steps: scale(50),
    batchSize: 16,
    learningRate: 3e-3,
    schedule: 'cosine',
    seed,
    onWarning: () => {},
  });
  const measured = async (given: typeof tasks) => {
    const { matrix, baseline } = await trainStream({ model: await smallModel(seed), tasks: given, stage });
    const found = continualMetrics({ matrix: matrix.loss!, baseline: baseline.loss!, higherIsBetter: false });
    return {
      'loss at the end': found.overall,
      'backward transfer': found.backwardTransfer!,
      forgetting: found.forgetting!,
    };
  };
  return { similar: await measured(tasks), random: await measured(random) };
}

/** F17 and F18: labels of which three in ten are wrong: other losses, and averages of the weights. */
export async function noisyLabels(seed: number, scale: Scale): Promise<Arms> {
  const { train, held } = chains(seed, [3], 80, 40);
  const random = createRandom(seed, 'noise');
  const rows = Array.from({ length: 6 }, () => solved(train))
    .flat()
    .map((row) => ({
      ...row,
      completion: [...row.completion]
        .map((one) => (random.float() < 0.3 ? String(random.integer(0, 4)) : one))
        .join(''),
    }));
  const clean = solved(held);
  const shared = { rows, steps: scale(160), seed };
  const measured = async (model: Awaited<ReturnType<typeof smallModel>>) => ({
    right: mean(await probabilitiesOf(model, clean)),
    loss: await lossOn(model, clean),
  });
  const base = (await tune({ ...shared, model: await smallModel(seed) })).trainer.model;
  const further = { ...shared, model: base, steps: scale(80), learningRate: 2e-3, schedule: 'constant' } as const;
  const arms: Record<string, Record<string, number>> = { base: await measured(base) };
  const plain = await tune({ ...further, weightAverage: bema({ updateFreq: 5 }) });
  arms.likelihood = await measured(plain.trainer.model);
  arms.BEMA = await measured(base.withWeights({ ...base.weights, ...plain.averaged }));
  const averaged = await tune({ ...further, weightAverage: ema({ decay: 0.95 }) });
  arms.EMA = await measured(base.withWeights({ ...base.weights, ...averaged.averaged }));
  arms.DFT = await measured((await tune({ ...further, loss: dynamicFineTuning })).trainer.model);
  return arms;
}

/** All studies, by the name that `run.ts` takes, with the arm that is the control. */
export const STUDIES = {
  'chain-of-thought': { run: chainOfThought, control: 'answer only' },
  domain: { run: domain, control: 'naive' },
  'chosen-only': { run: chosenOnly, control: 'control: both' },
  curriculum: { run: curriculum, control: 'control: shuffled' },
  retrieval: { run: retrieval, control: 'their document only' },
  refusal: { run: refusal, control: 'control: labels at random' },
  order: { run: order, control: 'similar' },
  'noisy-labels': { run: noisyLabels, control: 'likelihood' },
} as const;
export type StudyName = keyof typeof STUDIES;
