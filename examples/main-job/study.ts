/**
 * The study behind the main job's claim: three seeds, each with a control arm that gets random rewards.
 *
 * Run: `npx tsx examples/main-job/study.ts [--seeds 0,1,2]`. Writes study.json and STUDY.md beside this file.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Comparison, createProgress, metricOf, renderTable, type TableRow } from '@posttrain/eval';
import { CausalLM } from '@posttrain/lm';
import type { RewardFunction } from '@posttrain/rl';
import { mulberry32 } from '../pretrain-tiny/problem.js';
import { evaluateStage, fineTune, gain, reinforce, type StageResult, stageProgress } from './job.js';
import { DEFAULT_SETTINGS } from './settings.js';
import { embeddedTask, type JobRow } from './task.js';

const { values: flags } = parseArgs({
  options: {
    model: { type: 'string', default: join(import.meta.dirname, '..', 'pretrain-tiny', 'model') },
    seeds: { type: 'string', default: '0,1,2' },
    problems: { type: 'string', default: '256' },
  },
});

/** A coin per completion: what is learnt from it is not the task. */
function randomReward(seed: number): RewardFunction<JobRow> {
  const random = mulberry32(seed);
  return () => Number(random() < 0.5);
}

const majority = `maj@${DEFAULT_SETTINGS.evaluationSamples}`;
const model = await CausalLM.fromPretrained(flags.model);
const progress = createProgress();
const arms: { seed: number; arm: string; result: StageResult }[] = [];
const gains: ({ seed: number; of: string } & Pick<Comparison, 'difference' | 'interval' | 'pValue'>)[] = [];

for (const seed of flags.seeds.split(',').map(Number)) {
  const settings = { ...DEFAULT_SETTINGS, seed };
  const task = embeddedTask(seed, Number(flags.problems));
  const stage = (name: string) => ({ onProgress: stageProgress(progress.onProgress, `seed ${seed}: ${name}`) });
  const record = async (arm: string, adapter: Parameters<typeof evaluateStage>[1]) => {
    const result = await evaluateStage(model, adapter, task, settings, stage(`evaluate ${arm}`));
    arms.push({ seed, arm, result });
    return result;
  };
  const base = await record('base', undefined);
  const { adapter } = await fineTune(model, task, settings, stage('SFT'));
  const tuned = await record('SFT', adapter);
  const trueArm = await reinforce(model, adapter, task, settings, stage('GRPO'));
  const reinforced = await record('GRPO', trueArm.adapter);
  const rewards = { random: randomReward(seed) };
  const controlArm = await reinforce(model, adapter, task, settings, { rewards, ...stage('GRPO, random rewards') });
  const control = await record('GRPO, random rewards', controlArm.adapter);
  for (const [of, before, after] of [
    ['SFT over base', base, tuned],
    ['GRPO over SFT', tuned, reinforced],
    ['random rewards over SFT', tuned, control],
  ] as const) {
    const { difference, interval, pValue } = gain(before, after);
    gains.push({ seed, of, difference, interval, pValue });
  }
}
progress.finish();

const percent = { format: 'percent' } as const;
const rows = arms.map(
  ({ seed, arm, result }): TableRow => ({
    seed: String(seed),
    arm,
    'pass@1': metricOf(result, 'pass@1'),
    [majority]: metricOf(result, majority),
  }),
);
const table = renderTable(rows, {
  columns: ['seed', 'arm', { key: 'pass@1', ...percent }, { key: majority, ...percent }],
});
const gainRows = gains.map(
  ({ seed, of, difference, interval, pValue }): TableRow => ({
    seed: String(seed),
    of,
    'gain in pass@1': `${(100 * difference).toFixed(1)} % [${interval?.map((end) => (100 * end).toFixed(1)).join(', ') ?? 'not known'}]`,
    p: pValue,
  }),
);
const gainTable = renderTable(gainRows);
const { sft, grpo, evaluationSamples } = DEFAULT_SETTINGS;
const text = `# Three seeds and a control

Made by \`npx tsx examples/main-job/study.ts\`; the numbers are in study.json. ${flags.problems} held-out problems,
${evaluationSamples} samples each at temperature 1; ± is one standard error over problems. SFT: ${sft.steps} updates of ${sft.rowsPerStep} rows.
GRPO: ${grpo.steps} steps of ${grpo.promptsPerStep} prompts × ${grpo.completionsPerPrompt} completions. The control is the same run with a coin for a reward.
All seeds share one pretrained base; they differ in the demonstrations, the prompts, the initial adapter and all sampling.

\`\`\`
${table}
\`\`\`

Gains on the same problems, with the 95 % interval of a paired bootstrap over problems:

\`\`\`
${gainTable}
\`\`\`
`;
const summary = {
  settings: DEFAULT_SETTINGS,
  arms: arms.map(({ seed, arm, result }) => {
    const { value, standardError } = metricOf(result, 'pass@1');
    const vote = metricOf(result, majority);
    return {
      seed,
      arm,
      'pass@1': { value, standardError },
      [majority]: { value: vote.value, standardError: vote.standardError },
    };
  }),
  gains,
};
await writeFile(join(import.meta.dirname, 'study.json'), `${JSON.stringify(summary, null, 2)}\n`);
await writeFile(join(import.meta.dirname, 'STUDY.md'), text);
console.log(text);
