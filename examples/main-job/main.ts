import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { createProgress, metricOf, renderTable, scalingCurve, type TableRow, writeReport } from '@posttrain/eval';
import type { DecisiveSettings } from '@posttrain/interfaces';
import { CausalLM } from '@posttrain/lm';
import { DEFAULT_FOLDER, type Flags, readFlags } from './flags.js';
import { evaluateStage, fineTune, gain, reinforce, saveResult, stageProgress } from './job.js';
import { type OutputRequest, openOutput, writeJson } from './output.js';
import { jobReport } from './report.js';
import { DEFAULT_SETTINGS, type JobSettings } from './settings.js';
import { embeddedTask, fileTask } from './task.js';

/** What decides the results: every flag but where they go. A file of rows counts with its contents. */
async function decisive({ out: _, resume: __, replace: ___, data, ...flags }: Flags): Promise<DecisiveSettings> {
  if (data === undefined) return flags;
  const digest = createHash('sha256')
    .update(await readFile(data))
    .digest('hex');
  return { ...flags, data: `${basename(data)} ${digest.slice(0, 16)}` };
}

function modeOf({ out, resume, replace }: Flags): OutputRequest['mode'] {
  if (resume) return 'resume';
  if (replace) return 'replace';
  return out === undefined ? 'next' : 'new';
}

const settingsOf = (flags: Flags): JobSettings => ({
  ...DEFAULT_SETTINGS,
  seed: flags.seed,
  loraRank: flags.loraRank,
  sft: { ...DEFAULT_SETTINGS.sft, steps: flags.sftSteps, learningRate: flags.sftLearningRate },
  grpo: {
    steps: flags.grpoSteps,
    learningRate: flags.grpoLearningRate,
    promptsPerStep: flags.promptsPerStep,
    completionsPerPrompt: flags.completionsPerPrompt,
  },
});

/** Runs the job. @throws CommandLineError for flags that make no sense; what the job throws */
export async function main(given: readonly string[]): Promise<void> {
  const started = Date.now();
  const flags = readFlags(given);
  const settings = settingsOf(flags);
  const task = flags.data
    ? await fileTask(flags.data, flags.problems, flags.maxTokens)
    : embeddedTask(settings.seed, flags.problems);
  const model = await CausalLM.fromPretrained(flags.model);
  const output = await openOutput({
    folder: flags.out ?? DEFAULT_FOLDER,
    settings: await decisive(flags),
    mode: modeOf(flags),
  });
  const { folder } = output;
  if (output.resumed) console.log(`Going on with the run in ${folder}.`);
  const progress = createProgress();
  const stage = (name: string) => ({ onProgress: stageProgress(progress.onProgress, name) });
  const log = (name: string) => join(folder, `eval-${name}.jsonl`);

  const base = await evaluateStage(model, undefined, task, settings, { log: log('base'), ...stage('evaluate base') });
  const tuned = await fineTune(model, task, settings, { outputFolder: join(folder, 'sft'), ...stage('LoRA SFT') });
  // Without demonstrations the adapter is still the base.
  const hasSft = task.demonstrations.length > 0;
  const sftStage = { log: log('sft'), ...stage('evaluate SFT') };
  const afterSft = hasSft ? await evaluateStage(model, tuned.adapter, task, settings, sftStage) : undefined;
  const reinforced = await reinforce(model, tuned.adapter, task, settings, {
    outputFolder: join(folder, 'grpo'),
    ...stage('GRPO'),
  });
  const afterGrpo = await evaluateStage(model, reinforced.adapter, task, settings, {
    samples: settings.scalingSamples,
    log: log('grpo'),
    ...stage('evaluate GRPO'),
  });
  const scaling = scalingCurve(afterGrpo, { seed: settings.seed });
  const { drift } = await saveResult(model, reinforced.adapter, folder);
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
  await writeReport(
    join(folder, 'report.html'),
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
  await writeJson(join(folder, 'scaling.json'), scaling);
  const written = await output.finish();

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
      title: `${task.heldOut.length} held-out problems, ${settings.evaluationSamples} samples each (GRPO: ${settings.scalingSamples})`,
      columns: ['stage', { key: 'pass@1', ...percent }, { key: majority, ...percent }],
    }),
  );
  const ks = [1, 4, 16, settings.scalingSamples];
  const strategies = [...new Set(scaling.map((row) => row.strategy))];
  const scalingRows = strategies.map((strategy): TableRow => {
    const at = (k: number) => scaling.find((row) => row.strategy === strategy && row.k === k);
    const cells = ks.map((k) => {
      const row = at(k);
      return [`k = ${k}`, row ? { value: row.accuracy, standardError: row.standardError } : null] as const;
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
  console.log(`Wrote ${written}: adapter/ (PEFT), model/ (Hugging Face), eval-*.jsonl, sft/, grpo/, report.html`);
  console.log(`Open ${join(written, 'report.html')}`);
  console.log(`Took ${((Date.now() - started) / 1000).toFixed(0)} s.`);
}
