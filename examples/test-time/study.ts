import { join } from 'node:path';
import {
  type ArmedQuestion,
  type ComputeOptimalResult,
  computeOptimal,
  type MeanEstimate,
  meanDifference,
  meanWithStandardError,
  type ScalingRow,
  scalingCurve,
  type TradeOffRow,
  tradeOffs,
} from '@posttrain/eval';
import type { Completion, Verifier } from '@posttrain/interfaces';
import { ruleVerifier } from '@posttrain/interfaces/verifiers';
import { CausalLM, LocalGenerator } from '@posttrain/lm';
import { NoCandidateError, type SearchCosts, type Trace, traceCosts } from '@posttrain/tts';
import { evaluateStage, fineTune } from '../main-job/job.js';
import { DEFAULT_SETTINGS, type JobSettings } from '../main-job/settings.js';
import { embeddedTask, type JobRow, type JobTask } from '../main-job/task.js';
import { ARMS, type ArmFamily, type ArmSetting } from './arms.js';
import { baselineAt } from './baseline.js';

/** What a study is of. */
export interface StudySettings {
  readonly seeds: readonly number[];
  /** Held-out problems, the same for all seeds. */
  readonly problems: number;
  readonly widths: readonly number[];
  /** Samples of each problem that the baselines and the difficulty are of. */
  readonly baselineSamples: number;
  /** Steps of fine-tuning that the model has had: few, so that there is something to search for. */
  readonly sftSteps: number;
  /** Curves of the baselines, seed by seed, of a study to which arms are added: nothing is sampled for them, and nobody chooses by difficulty. */
  readonly curves?: readonly (readonly ScalingRow[])[];
  /** Default: all. */
  readonly arms?: readonly string[];
  readonly onArm?: (what: string) => void;
}

/** One strategy at one width, over all seeds. */
export interface StudyRow {
  readonly strategy: string;
  readonly family: ArmFamily;
  readonly n: number;
  readonly accuracy: MeanEstimate;
  readonly tokens: number;
  readonly verifierCalls: number;
  readonly megaflops: number;
  readonly milliseconds: number;
  /** Accuracy less that of best-of-N, and of the majority vote, at the same tokens; seeds are the sample. */
  readonly overBestOfN: MeanEstimate;
  readonly overMajority: MeanEstimate;
}

/** A chooser at a budget of tokens. */
export interface ChooserRow extends Pick<ComputeOptimalResult, 'policy' | 'single'> {
  readonly budget: number;
  /** By difficulty, easiest first: what the folds of the first seed chose. */
  readonly chosen: readonly (readonly string[])[];
}

export interface Study {
  readonly rows: readonly StudyRow[];
  readonly baselines: readonly ScalingRow[];
  readonly choosers: readonly ChooserRow[];
  /** Of every arm and width: accuracy against each cost, with errors over the problems of all seeds. Absent of a study that arms were added to. */
  readonly tradeOffs?: readonly TradeOffRow[];
}

const SUM = /(\d+)([+-])(\d+)=(\d+)/g;

/** Whether each step of a text is right, as far as the text says by itself: 1 or 0, a step. */
function soundness(text: string): number[] {
  return [...text.matchAll(SUM)].map(([, a, sign, b, c]) =>
    Number((sign === '+' ? Number(a) + Number(b) : Number(a) - Number(b)) === Number(c)),
  );
}

/** Scores the text at the end of any step by its last step, and by all: a process verifier that needs no reference answer. */
const soundSteps: Verifier = ruleVerifier('sound steps', {}, ({ completion }) => {
  const stepScores = soundness(completion);
  const share = stepScores.length === 0 ? 0 : stepScores.reduce((a, b) => a + b, 0) / stepScores.length;
  return {
    score: share,
    ...(stepScores.length > 0 && { stepScores: stepScores.map((_, i) => prefix(stepScores, i)) }),
  };
});

const prefix = (scores: readonly number[], end: number): number =>
  scores.slice(0, end + 1).reduce((a, b) => a + b, 0) / (end + 1);

interface Outcome extends SearchCosts {
  readonly correct: number;
}

/** The model that is searched: the small one, with a little LoRA on worked solutions. */
async function searched(task: JobTask, seed: number, steps: number) {
  const model = await CausalLM.load(join(import.meta.dirname, '..', 'pretrain-tiny', 'model'));
  const settings: JobSettings = {
    ...DEFAULT_SETTINGS,
    seed,
    evaluationSamples: 1,
    sft: { ...DEFAULT_SETTINGS.sft, steps },
  };
  const { adapter } = await fineTune(model, task, settings);
  return { model, adapter, settings };
}

async function runArm(name: string, task: JobTask, parameters: number, setting: ArmSetting): Promise<Outcome[]> {
  return Promise.all(
    task.heldOut.map(async (row, i): Promise<Outcome> => {
      const one = { ...setting, seed: setting.seed * 100_003 + i * 101 };
      const found = await ARMS[name]!.run({ prompt: row.prompt }, one).catch((error: unknown) => {
        if (error instanceof NoCandidateError) return { text: '', trace: error.trace };
        throw error;
      });
      const costs = traceCosts(found.trace as Trace, { generator: parameters });
      const { finishReason } = found.trace.nodes.findLast(({ status }) => status === 'chosen') ?? {};
      return { ...costs, correct: await graded(task, row, found.text, finishReason ?? 'stop') };
    }),
  );
}

async function graded(
  { grader }: JobTask,
  row: JobRow,
  completion: string,
  finishReason: Completion['finishReason'],
): Promise<number> {
  const [verdict] = await grader.verify([{ prompt: row.prompt, completion, row, finishReason }]);
  return verdict!.score ?? 0;
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/**
 * Every arm at every width on the same held-out problems, three seeds (of the fine-tuning and of all sampling), beside best-of-N and
 * the majority vote at the same tokens, and the chooser by difficulty.
 */
export async function runStudy(settings: StudySettings): Promise<Study> {
  const { seeds, problems, widths, baselineSamples, sftSteps, arms = Object.keys(ARMS), onArm } = settings;
  const outcomes = new Map<string, Outcome[][]>();
  const curves: (readonly ScalingRow[])[] = [];
  const questions: ArmedQuestion[][] = [];
  for (const [s, seed] of seeds.entries()) {
    const task = embeddedTask(seed, problems);
    const { model, adapter, settings: job } = await searched(task, seed, sftSteps);
    const parameters = Object.values(model.weights).reduce((sum, { size }) => sum + size, 0);
    const known = settings.curves?.[s];
    if (!known) onArm?.(`seed ${seed}: ${baselineSamples} samples of ${problems} problems`);
    const judged = { ...task, verifier: soundSteps };
    const sampled = known ? undefined : await evaluateStage(model, adapter, judged, job, { samples: baselineSamples });
    curves.push(known ?? scalingCurve(sampled!, { seed }));
    const generator = new LocalGenerator(model, { adapter: () => adapter });
    const byArm: Record<string, Outcome[]> = {};
    for (const name of arms) {
      for (const n of widths) {
        onArm?.(`seed ${seed}: ${name}, n = ${n}`);
        const setting = { generator, outcome: soundSteps, process: soundSteps, n, seed, maxTokens: task.maxTokens };
        const found = await runArm(name, task, parameters, setting);
        const key = `${name} n=${n}`;
        byArm[key] = found;
        outcomes.set(key, [...(outcomes.get(key) ?? []), found]);
      }
    }
    questions.push(
      task.heldOut.map((_, i) => ({
        id: String(i),
        // Of the baselines' samples, which no arm has drawn.
        ease: sampled
          ? mean(sampled.problems[i]!.completions.map(({ grades }) => grades[task.grader.name]?.score ?? 0))
          : 0,
        outcomes: Object.fromEntries(Object.entries(byArm).map(([key, found]) => [key, found[i]!])),
      })),
    );
  }
  const rows = arms.flatMap((strategy) =>
    widths.map((n): StudyRow => {
      const bySeed = outcomes.get(`${strategy} n=${n}`)!;
      const all = bySeed.flat();
      const costOf = (cost: Exclude<keyof SearchCosts, 'joules'>) => mean(all.map((it) => it[cost]));
      const over = (baseline: string) =>
        meanDifference(
          bySeed.map((found, s) => {
            const tokens = mean(found.map(({ completionTokens }) => completionTokens));
            return mean(found.map(({ correct }) => correct)) - baselineAt(curves[s]!, baseline, tokens);
          }),
        );
      return {
        ...{ strategy, family: ARMS[strategy]!.family, n },
        // A problem is one cluster: its three runs share it.
        accuracy: meanWithStandardError(
          Array.from({ length: problems }, (_, i) => mean(bySeed.map((found) => found[i]!.correct))),
        ),
        tokens: costOf('completionTokens'),
        verifierCalls: costOf('verifierCalls'),
        megaflops: costOf('flops') / 1e6,
        milliseconds: costOf('wallTimeMs'),
        overBestOfN: over('best-of-n'),
        overMajority: over('majority-vote'),
      };
    }),
  );
  // How easy a problem is, is known of the samples.
  const budgets = (settings.curves ? [] : widths).map((n) =>
    Math.round(n * 1.1 * mean(curves.map((curve) => curve.find(({ k }) => k === 1)!.meanTokens))),
  );
  const asked = questions.flatMap((list, s) => list.map((question) => ({ ...question, id: `${s}/${question.id}` })));
  const choosers = budgets.map((budget): ChooserRow => {
    const options = { bins: 3, budget, folds: 4 } as const;
    const { policy, single } = computeOptimal(asked, options);
    return { budget, policy, single, chosen: computeOptimal(questions[0]!, options).bins.map(({ chosen }) => chosen) };
  });
  return { rows, baselines: curves.flat(), choosers, tradeOffs: tradeOffs(asked) };
}
