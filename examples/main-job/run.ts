/**
 * The main job: a Hugging Face model folder in; a fine-tuned, reinforced, searched and evaluated model out.
 *
 * Run: `npm start`, or `npm start -- --model DIR --data FILE`. A run that was interrupted goes on where it was. See README.md.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { basename, join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { createProgress, metricOf, renderTable, scalingCurve, type TableRow, writeReport } from '@posttrain/eval';
import { type DecisiveSettings, isPosttrainError, PosttrainError } from '@posttrain/interfaces';
import { CausalLM } from '@posttrain/lm';
import {
  DEFAULT_SETTINGS,
  evaluateStage,
  fineTune,
  gain,
  type JobSettings,
  reinforce,
  saveResult,
  stageProgress,
} from './job.js';
import { type OutputRequest, openOutput, writeJson } from './output.js';
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

/** What is done with an output folder that has been used. */
const SWITCHES = ['resume', 'replace'] as const;

type Flags = Record<Exclude<keyof typeof FLAGS, 'out'>, string> & {
  readonly out?: string;
  readonly resume?: boolean;
  readonly replace?: boolean;
};

function readFlags(): Flags {
  const { out: _, ...defaults } = FLAGS;
  const options = {
    ...Object.fromEntries(Object.entries(defaults).map(([name, value]) => [name, { type: 'string', default: value }])),
    out: { type: 'string' },
    ...Object.fromEntries(SWITCHES.map((name) => [name, { type: 'boolean' }])),
  } as NonNullable<Parameters<typeof parseArgs>[0]>['options'] & object;
  let flags: Flags;
  try {
    flags = parseArgs({ options }).values as unknown as Flags;
  } catch (cause) {
    const known = [...Object.keys(FLAGS), ...SWITCHES].map((name) => `--${name}`);
    throw new PosttrainError('FLAGS', `${(cause as Error).message} The flags are ${known.join(', ')}.`, { cause });
  }
  if (flags.resume && flags.replace) throw new PosttrainError('FLAGS', '--resume and --replace exclude each other.');
  return flags;
}

/** What decides the results: every flag but where they go. A file of rows counts with its contents. */
async function decisive({ out: _, resume: __, replace: ___, ...flags }: Flags): Promise<DecisiveSettings> {
  if (flags.data === '') return flags;
  const digest = createHash('sha256')
    .update(await readFile(flags.data))
    .digest('hex');
  return { ...flags, data: `${basename(flags.data)} ${digest.slice(0, 16)}` };
}

function modeOf({ out, resume, replace }: Flags): OutputRequest['mode'] {
  if (resume) return 'resume';
  if (replace) return 'replace';
  return out === undefined ? 'next' : 'new';
}

function settingsOf(flags: Flags): JobSettings {
  const number = (name: keyof typeof FLAGS) => positive(flags, name);
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

function positive(flags: Flags, name: keyof typeof FLAGS): number {
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
  const output = await openOutput({
    folder: flags.out ?? FLAGS.out,
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

try {
  await main();
} catch (error) {
  if (!isPosttrainError(error)) throw error;
  // A mistake in what was given, not in the program: the message says what to do, a stack would hide it.
  console.error(`\n${error.name}: ${error.message}`);
  process.exitCode = 1;
}
