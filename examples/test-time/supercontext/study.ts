import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type MeanEstimate, meanDifference, meanWithStandardError } from '@posttrain/eval';
import { mulberry32 } from '../../pretrain-tiny/problem.js';
import {
  ask,
  largeGenerator,
  largeModel,
  type ModelSettings,
  receiptsOf,
  type Shown,
  shuffledReceipts,
  smallModel,
  worldTokenizer,
} from './models.js';
import { ABSTENTION, drawQuestion, makeWorld, SETS, type SetName, type WorldSize } from './world.js';

export interface SuperContextSettings extends ModelSettings {
  /** Of everything: the world, both models, the questions. */
  readonly seeds: readonly number[];
  readonly world: WorldSize;
  /** Questions of each set. */
  readonly questions: number;
  /** Where the cells of seeds are kept, so that a run that was killed goes on. Default: nowhere. */
  readonly folder?: string;
  readonly onProgress?: (what: string) => void;
}

export const SETTINGS: SuperContextSettings = {
  seeds: [1, 2, 3],
  world: { home: 100, met: 20, foreign: 20, neutral: 100 },
  questions: 150,
  small: { ...{ width: 24, layers: 1 }, questions: 5000, epochs: 3, learningRate: 1e-2 },
  large: { ...{ width: 72, layers: 2 }, rows: 6000, steps: 260, tokensPerStep: 512, learningRate: 3e-3 },
};

/** What is compared; the small model alone and the large one alone are arms too. */
export const ARMS = [
  'small model alone',
  'no receipt',
  'receipt',
  'label only',
  'confidence only',
  'shuffled receipts',
] as const;
export type ArmName = (typeof ARMS)[number];
const SHOWN: Readonly<Record<Exclude<ArmName, 'small model alone'>, Shown>> = {
  'no receipt': 'none',
  receipt: 'full',
  'label only': 'label only',
  'confidence only': 'confidence only',
  'shuffled receipts': 'full',
};

/** What came of one arm on one set in one seed, as shares of its questions. */
interface Found {
  readonly right: number;
  readonly abstained: number;
}

/** One arm on one set over seeds. */
export interface SuperContextRow {
  readonly set: SetName;
  readonly arm: ArmName;
  /** Answers that are right; of questions without an answer, abstentions. */
  readonly right: MeanEstimate;
  readonly abstained: MeanEstimate;
  /** `right` less that of the large model alone, and less that of the receipts: pairs by seed. */
  readonly overNoReceipt: MeanEstimate;
  readonly overReceipt: MeanEstimate;
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** One world with its two models. */
async function oneSeed(settings: SuperContextSettings, seed: number) {
  const { onProgress } = settings;
  const folder = mkdtempSync(join(tmpdir(), 'supercontext-'));
  try {
    const world = makeWorld(settings.world, mulberry32(1000 * seed));
    const tokenizer = await worldTokenizer(world, folder);
    const scorer = await smallModel(world, tokenizer, settings, mulberry32(1000 * seed + 1), seed);
    onProgress?.(`seed ${seed}: the small model is trained`);
    const model = await largeModel(world, tokenizer, scorer, settings, mulberry32(1000 * seed + 2), {
      seed: seed + 100,
      onStep: (step, loss) => {
        if (step % 40 === 0) onProgress?.(`seed ${seed}: step ${step}, loss ${loss.toFixed(3)}`);
      },
    });
    const large = largeGenerator(world, model);
    const random = mulberry32(1000 * seed + 3);
    const found = {} as Record<SetName, Record<ArmName, Found>>;
    const confidences = {} as Record<SetName, number>;
    for (const set of SETS) {
      const questions = Array.from({ length: settings.questions }, () => drawQuestion(world, set, random));
      const texts = questions.map(({ text }) => text);
      const receipts = await receiptsOf(scorer, texts);
      const shuffled = await shuffledReceipts(receipts, texts, random);
      const summary = (answers: readonly (string | null)[]): Found => ({
        right: mean(answers.map((answer, i) => Number(answer === questions[i]!.label))),
        abstained: mean(answers.map((answer) => Number(answer === ABSTENTION))),
      });
      const said = (await receipts.generate(texts.map((prompt) => ({ prompt })))).map(([one]) => one!);
      confidences[set] = mean(said.map(({ logProbs }) => Math.exp(logProbs![0]!)));
      found[set] = { 'small model alone': summary(said.map(({ text }) => text)) } as Record<ArmName, Found>;
      for (const [arm, shown] of Object.entries(SHOWN) as [keyof typeof SHOWN, Shown][]) {
        const small = arm === 'shuffled receipts' ? shuffled : receipts;
        const results = await Promise.all(texts.map((text) => ask(text, large, small, shown)));
        found[set][arm] = summary(results.map(({ answer }) => answer));
      }
      const shown = ARMS.map((arm) => `${arm} ${(100 * found[set][arm].right).toFixed(0)} %`).join(', ');
      onProgress?.(`seed ${seed}: ${set}: ${shown}; confidence ${confidences[set].toFixed(2)}`);
    }
    return { found, confidences };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The same, or what is in the folder of the same settings. */
async function keptSeed(settings: SuperContextSettings, seed: number): ReturnType<typeof oneSeed> {
  if (settings.folder === undefined) return oneSeed(settings, seed);
  const { world, questions, small, large } = settings;
  const identity = JSON.stringify({ world, questions, small, large });
  const file = join(settings.folder, `seed-${seed}.json`);
  const kept = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : undefined;
  if (kept?.identity === identity) return kept.cell;
  const cell = await oneSeed(settings, seed);
  mkdirSync(settings.folder, { recursive: true });
  writeFileSync(file, JSON.stringify({ identity, cell }));
  return cell;
}

/** SuperContext with models that were trained for it, at home of the small one and elsewhere, beside its ablations. */
export async function runSuperContextStudy(settings: SuperContextSettings) {
  const seeds: Awaited<ReturnType<typeof oneSeed>>[] = [];
  for (const seed of settings.seeds) seeds.push(await keptSeed(settings, seed));
  const rows = SETS.flatMap((set) =>
    ARMS.map((arm): SuperContextRow => {
      const over = (other: ArmName) =>
        meanDifference(seeds.map(({ found }) => found[set][arm].right - found[set][other].right));
      return {
        ...{ set, arm },
        right: meanWithStandardError(seeds.map(({ found }) => found[set][arm].right)),
        abstained: meanWithStandardError(seeds.map(({ found }) => found[set][arm].abstained)),
        overNoReceipt: over('no receipt'),
        overReceipt: over('receipt'),
      };
    }),
  );
  const confidences = SETS.map((set) => ({
    set,
    confidence: meanWithStandardError(seeds.map((it) => it.confidences[set])),
  }));
  return { rows, confidences };
}
