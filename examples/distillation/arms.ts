/** The arms of the study, each a function of its seed. */
import type { CausalLM } from '@posttrain/lm';
import { policyObjectives, trainPolicy } from '@posttrain/rl';
import { distill, negativeLogLikelihood, sft, Trainer, tokenizeRows, toTrainingRows } from '@posttrain/training';
import { type Language, language, letterModel, type Row } from './language.js';

export interface Settings {
  /** Updates of the teachers, on new texts in each. */
  readonly teacherSteps: number;
  /** Updates of the students. */
  readonly steps: number;
  /** Texts that a student has. */
  readonly texts: number;
  /** Updates by what several teachers say. */
  readonly mopdSteps: number;
  /** Held-out texts. */
  readonly heldOut: number;
}

export const SETTINGS: Settings = { teacherSteps: 160, steps: 80, texts: 24, mopdSteps: 48, heldOut: 80 };

const BATCH = 16;
const quiet = { onWarning: () => {} };

/** -log p of a held-out letter, in nats: how well a model knows the language. */
export async function lossOn(model: CausalLM, rows: readonly Row[]): Promise<number> {
  const trainer = await Trainer.create(model, { optimizer: 'sgd' });
  const { rows: tokenized } = tokenizeRows(model, rows);
  return (await trainer.evaluate(toTrainingRows(tokenized), negativeLogLikelihood)).loss;
}

/** A model that has seen many texts of languages, each once. */
export async function taught(
  model: CausalLM,
  languages: readonly Language[],
  steps: number,
  seed: number,
): Promise<CausalLM> {
  const each = Math.ceil((steps * BATCH) / languages.length);
  const rows = languages.flatMap((one, i) => one.rows(each, 1000 * seed + i));
  const { trainer } = await sft({ model, rows, epochs: 1, batchSize: BATCH, learningRate: 0.008, seed, ...quiet });
  return trainer.model;
}

/** A larger model into a smaller one, beside SFT on the same texts: the held-out loss of each arm. */
export async function distillationArms(seed: number, settings: Settings): Promise<Record<string, number>> {
  const { teacherSteps, steps, texts, heldOut } = settings;
  const world = language('a', 10 + seed);
  const rows = world.rows(texts, 7000 + seed);
  const held = world.rows(heldOut, 9000 + seed);
  const large = () => letterModel('large', 64, 2, seed);
  const teacher = await taught(await large(), [world], teacherSteps, seed);
  const small = () => letterModel('small', 24, 1, 100 + seed);
  const shared = { rows, steps, batchSize: BATCH, learningRate: 0.01, seed, ...quiet };
  const by = async (of: CausalLM, more: object) => {
    const { trainer } = await distill({
      ...shared,
      model: await small(),
      teacher: of,
      maxCompletionLength: 13,
      ...more,
    });
    return lossOn(trainer.model, held);
  };
  const fineTuned = async (more: object) => {
    const { trainer } = await sft({ ...shared, model: await small(), ...more });
    return lossOn(trainer.model, held);
  };
  const onData = { lmbda: 0, alpha: 0.5, beta: 0, divergenceTemperature: 1 };
  return {
    'teacher (larger)': await lossOn(teacher, held),
    SFT: await fineTuned({}),
    // What a held-out set of its own would have told it: when to stop.
    'SFT, its best step': await fineTuned({
      ...{ evaluationRows: world.rows(heldOut, 6000 + seed), evaluateEvery: 8, keepBest: true },
    }),
    'knowledge distillation': await by(teacher, onData),
    'sequence-level (SeqKD)': await by(teacher, { lmbda: 0, seqKd: true, temperature: 1, beta: 0 }),
    'on-policy (GKD, λ 0.5)': await by(teacher, { lmbda: 0.5, beta: 0, temperature: 1 }),
    'control: an untrained teacher': await by(await letterModel('untrained', 64, 2, 500 + seed), onData),
  };
}

/** Two specialists into one student by MOPD: the mean held-out loss over both languages, of each arm. */
export async function mopdArms(seed: number, settings: Settings): Promise<Record<string, number>> {
  const { teacherSteps, mopdSteps, texts, heldOut } = settings;
  const worlds = [language('a', 10 + seed), language('b', 20 + seed)] as const;
  const held = worlds.map((world, i) => world.rows(heldOut, 9000 + 100 * i + seed));
  const both = async (model: CausalLM) => ((await lossOn(model, held[0]!)) + (await lossOn(model, held[1]!))) / 2;
  const a = await taught(await letterModel('a', 48, 2, seed), [worlds[0]], teacherSteps, seed);
  const b = await taught(await letterModel('b', 48, 2, 50 + seed), [worlds[1]], teacherSteps, seed);
  // A student that has seen a few texts of both, as what it says must be of some use.
  const few = worlds.flatMap((world, i) => world.rows(texts, 7000 + 100 * i + seed));
  const start = await sft({
    ...{
      model: await letterModel('student', 48, 2, 100 + seed),
      rows: few,
      steps: 60,
      batchSize: BATCH,
      learningRate: 0.006,
      seed,
    },
    ...quiet,
  });
  const prompts = worlds
    .flatMap((world, i) => world.rows(400, 8000 + 100 * i + seed))
    .map(({ prompt, domain }) => ({ prompt, domain }));
  const by = async (teachers: Readonly<Record<string, CausalLM>>, route?: (row: object) => string) => {
    const { trainer } = await trainPolicy({
      ...{ model: start.trainer.model, rows: prompts, rewards: { letters: (text: string) => text.length } },
      objective: policyObjectives.mopd({ teachers, ...(route && { route }) }),
      ...{ steps: mopdSteps, promptsPerStep: 24, completionsPerPrompt: 1, maxCompletionLength: 13 },
      ...{ learningRate: 0.003, seed, ...quiet },
    });
    return both(trainer.model);
  };
  const domain = (row: object) => (row as Row).domain;
  return {
    'specialist a': await both(a),
    'specialist b': await both(b),
    'student before': await both(start.trainer.model),
    MOPD: await by({ a, b }, domain),
    'mean of both teachers': await by({ a, b }),
    'control: routed to the other': await by({ a: b, b: a }, domain),
  };
}
