/**
 * The main job: a Hugging Face model folder in; a fine-tuned, reinforced, searched and evaluated model out.
 *
 * Run: `npm start`, or `npm start -- --model DIR --data FILE`. See README.md.
 */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { createProgress, metricOf, renderTable, type TableRow, writeReport } from '@posttrain/eval';
import { isPosttrainError } from '@posttrain/interfaces';
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

const { values: flags } = parseArgs({
  options: {
    model: { type: 'string', default: relative('.', join(import.meta.dirname, '..', 'pretrain-tiny', 'model')) },
    data: { type: 'string' },
    out: { type: 'string', default: join('runs', 'main-job') },
    seed: { type: 'string', default: '0' },
    problems: { type: 'string', default: '256' },
    'max-tokens': { type: 'string', default: '128' },
    'lora-rank': { type: 'string', default: String(DEFAULT_SETTINGS.loraRank) },
    'sft-steps': { type: 'string', default: String(DEFAULT_SETTINGS.sft.steps) },
    'sft-learning-rate': { type: 'string', default: String(DEFAULT_SETTINGS.sft.learningRate) },
    'grpo-steps': { type: 'string', default: String(DEFAULT_SETTINGS.grpo.steps) },
    'grpo-learning-rate': { type: 'string', default: String(DEFAULT_SETTINGS.grpo.learningRate) },
    'prompts-per-step': { type: 'string', default: String(DEFAULT_SETTINGS.grpo.promptsPerStep) },
    'completions-per-prompt': { type: 'string', default: String(DEFAULT_SETTINGS.grpo.completionsPerPrompt) },
  },
});

const settings: JobSettings = {
  ...DEFAULT_SETTINGS,
  seed: Number(flags.seed),
  loraRank: Number(flags['lora-rank']),
  sft: { ...DEFAULT_SETTINGS.sft, steps: Number(flags['sft-steps']), learningRate: Number(flags['sft-learning-rate']) },
  grpo: {
    steps: Number(flags['grpo-steps']),
    learningRate: Number(flags['grpo-learning-rate']),
    promptsPerStep: Number(flags['prompts-per-step']),
    completionsPerPrompt: Number(flags['completions-per-prompt']),
  },
};

async function main(): Promise<void> {
  const started = Date.now();
  const problems = Number(flags.problems);
  const task = flags.data
    ? await fileTask(flags.data, problems, Number(flags['max-tokens']))
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
  const afterSft = await evaluateStage(model, tuned.adapter, task, settings, {
    log: log('sft'),
    ...stage('evaluate SFT'),
  });
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
    ...(task.demonstrations.length > 0 ? [{ name: 'SFT', result: afterSft }] : []),
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
