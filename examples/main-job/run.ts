/**
 * The main job: a Hugging Face model folder in; a fine-tuned, reinforced, searched and evaluated model out.
 *
 * Run: `npm start`, or `npm start -- --model DIR --data FILE`. See README.md.
 */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { createProgress, metricOf, renderTable, type TableRow, writeReport } from '@posttrain/eval';
import { isPosttrainError, PosttrainError } from '@posttrain/interfaces';
import { CausalLM } from '@posttrain/lm';
import {
  DEFAULT_SETTINGS,
  evaluateStage,
  fineTune,
  gain,
  type JobSettings,
  reinforce,
  saveResult,
  scaleAtTestTime,
  stageProgress,
} from './job.js';
import { jobReport } from './report.js';
import { embeddedTask, fileTask } from './task.js';

const { sft, grpo } = DEFAULT_SETTINGS;
const FLAGS = {
  model: relative('.', join(import.meta.dirname, '..', 'pretrain-tiny', 'model')),
  data: '',
  out: join('runs', 'main-job'),
  seed: '0',
  problems: '256',
  'max-tokens': '128',
  'lora-rank': String(DEFAULT_SETTINGS.loraRank),
  'sft-steps': String(sft.steps),
  'sft-learning-rate': String(sft.learningRate),
  'grpo-steps': String(grpo.steps),
  'grpo-learning-rate': String(grpo.learningRate),
  'prompts-per-step': String(grpo.promptsPerStep),
  'completions-per-prompt': String(grpo.completionsPerPrompt),
} as const;

type Flags = Record<keyof typeof FLAGS, string>;

function readFlags(): Flags {
  const options = Object.fromEntries(
    Object.entries(FLAGS).map(([name, value]) => [name, { type: 'string' as const, default: value }]),
  );
  try {
    return parseArgs({ options }).values as Flags;
  } catch (cause) {
    const known = Object.keys(FLAGS).map((name) => `--${name}`);
    throw new PosttrainError('FLAGS', `${(cause as Error).message} The flags are ${known.join(', ')}.`, { cause });
  }
}

function settingsOf(flags: Flags): JobSettings {
  const number = (name: keyof Flags) => positive(flags, name);
  return {
    ...DEFAULT_SETTINGS,
    seed: Number(flags.seed),
    loraRank: number('lora-rank'),
    sft: { ...sft, steps: number('sft-steps'), learningRate: number('sft-learning-rate') },
    grpo: {
      steps: number('grpo-steps'),
      learningRate: number('grpo-learning-rate'),
      promptsPerStep: number('prompts-per-step'),
      completionsPerPrompt: number('completions-per-prompt'),
    },
  };
}

function positive(flags: Flags, name: keyof Flags): number {
  const value = Number(flags[name]);
  if (!(value > 0)) throw new PosttrainError('FLAGS', `--${name} must be a positive number, not "${flags[name]}"`);
  return value;
}

async function main(): Promise<void> {
  const started = Date.now();
  const flags = readFlags();
  const settings = settingsOf(flags);
  const problems = positive(flags, 'problems');
  const task = flags.data
    ? await fileTask(flags.data, problems, positive(flags, 'max-tokens'))
    : embeddedTask(settings.seed, problems);
  const model = await CausalLM.fromPretrained(flags.model);
  await mkdir(flags.out, { recursive: true });
  // Evaluations and training go on from their logs; a new run must not go on from an old one's.
  for (const name of ['eval-base.jsonl', 'eval-sft.jsonl', 'eval-grpo.jsonl', 'grpo']) {
    await rm(join(flags.out, name), { force: true, recursive: true });
  }
  const progress = createProgress();
  const stage = (name: string) => ({ onProgress: stageProgress(progress.onProgress, name) });
  const log = (name: string) => join(flags.out, `eval-${name}.jsonl`);

  const base = await evaluateStage(model, undefined, task, settings, { log: log('base'), ...stage('evaluate base') });
  const tuned = await fineTune(model, task, settings, stage('LoRA SFT').onProgress);
  // Without demonstrations the adapter is still the base.
  const hasSft = task.demonstrations.length > 0;
  const sftStage = { log: log('sft'), ...stage('evaluate SFT') };
  const afterSft = hasSft ? await evaluateStage(model, tuned.adapter, task, settings, sftStage) : undefined;
  const reinforced = await reinforce(model, tuned.adapter, task, settings, {
    outputFolder: join(flags.out, 'grpo'),
    ...stage('GRPO'),
  });
  const scaling = await scaleAtTestTime(
    model,
    reinforced.adapter,
    task,
    settings,
    stage('test-time scaling').onProgress,
  );
  const afterGrpo = await evaluateStage(model, reinforced.adapter, task, settings, {
    log: log('grpo'),
    ...stage('evaluate GRPO'),
  });
  const { drift } = await saveResult(model, reinforced.adapter, flags.out);
  progress.finish();

  const stages = [
    { name: 'base', result: base },
    ...(afterSft ? [{ name: 'SFT', result: afterSft }] : []),
    { name: 'GRPO', result: afterGrpo },
  ];
  const comparisons = stages.slice(1).map(({ name, result }, i) => ({
    name: `${stages[i]!.name} → ${name}`,
    comparison: gain(stages[i]!.result, result),
  }));
  const report = join(flags.out, 'report.html');
  await writeReport(
    report,
    jobReport({
      task: task.name,
      model: model.name,
      stages,
      comparisons,
      sftLog: tuned.log,
      grpoLog: reinforced.log,
      scaling,
    }),
  );
  await writeFile(join(flags.out, 'scaling.json'), `${JSON.stringify(scaling, null, 2)}\n`);

  const percent = { format: 'percent' } as const;
  const majority = `maj@${settings.evaluationSamples}`;
  const stageRows = stages.map(
    ({ name, result }): TableRow => ({
      stage: name,
      'pass@1': metricOf(result, 'pass@1'),
      [majority]: metricOf(result, majority),
    }),
  );
  console.log();
  console.log(
    renderTable(stageRows, {
      title: `${task.heldOut.length} held-out problems, ${settings.evaluationSamples} samples each`,
      columns: ['stage', { key: 'pass@1', ...percent }, { key: majority, ...percent }],
    }),
  );
  const ks = [1, 4, 16, settings.scalingSamples];
  const strategies = [...new Set(scaling.map((row) => row.strategy))];
  const scalingRows = strategies.map((strategy): TableRow => {
    const at = (k: number) => scaling.find((row) => row.strategy === strategy && row.k === k);
    const cells = ks.map((k) => {
      const row = at(k);
      return [`k = ${k}`, row ? { value: row.accuracy, standardError: row.standardError ?? 0 } : null] as const;
    });
    return { strategy, ...Object.fromEntries(cells) };
  });
  console.log(
    renderTable(scalingRows, {
      title: 'After GRPO: accuracy against samples per problem',
      columns: ['strategy', ...ks.map((k) => ({ key: `k = ${k}`, ...percent }))],
    }),
  );
  console.log(`Merging changed the logits by at most ${drift.toExponential(1)}.`);
  console.log(`Wrote ${flags.out}: adapter/ (PEFT), model/ (Hugging Face), eval-*.jsonl, grpo/, report.html`);
  console.log(`Open ${report}`);
  console.log(`Took ${((Date.now() - started) / 1000).toFixed(0)} s.`);
}

try {
  await main();
} catch (error) {
  if (!isPosttrainError(error)) throw error;
  // A mistake in what was given, not in the program: the message says what to do, a stack would hide it.
  console.error(`\n${error.name}: ${error.message}`);
  process.exitCode = 1;
}
