// TTRL where its majorities are right for five prompts and wrong for two: what it learns of each, beside the same run on the right answers and on a reward
// that says nothing. Cells that `ttrl.json` has are not run again.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CausalLM } from '@posttrain/lm';
import { policyObjectives, rollOut, trainPolicy, ttrl, ttrlReport } from '@posttrain/rl';
import { sft } from '@posttrain/training';
import { LETTERS, modelOf } from '../background-rl/letters.js';
import { interval } from '../background-rl/tables.js';

/** The prompt is a letter, twice, and the right answer is that letter. */
const ROWS = LETTERS.map((letter) => ({ prompt: letter + letter, letter }));
/** What the policy begins with: it has been taught two of them wrongly. */
const TAUGHT = ROWS.map(({ prompt, letter }) => ({ prompt, completion: { f: 'g', g: 'f' }[letter] ?? letter }));
const WRONG = new Set(['f', 'g']);
const extract = (text: string) => (text === '' ? null : text[0]!);

const ARMS = ['ttrl', 'gold', 'random'] as const;
type Arm = (typeof ARMS)[number];
const SEEDS = [1, 2, 3];
const FILE = join(import.meta.dirname, 'ttrl.json');

/** A policy that says what it was taught in about half of its completions. */
async function start(seed: number): Promise<CausalLM> {
  const { trainer } = await sft({
    model: await modelOf(seed),
    rows: TAUGHT,
    batchSize: 7,
    steps: 14,
    learningRate: 0.02,
    seed,
  });
  return trainer.model;
}

/** maj@k, avg@k and by how much rewards say more than is right, over 64 completions of each prompt; of the prompts that were taught rightly and wrongly. */
async function report(model: CausalLM, seed: number) {
  const rewards = { none: () => 0 };
  const given = { model, rows: ROWS, rewards, completionsPerPrompt: 64, maxCompletionLength: 1, seed: 100 + seed };
  const rollouts = await rollOut(given);
  const groups = ROWS.map(({ letter }, group) => ({
    gold: letter,
    completions: rollouts.filter((one) => one.group === group).map(({ text }) => text),
  }));
  const of = (isWrong: boolean) => {
    const { majorityAccuracy, goldShare, divergence } = ttrlReport(
      groups.filter(({ gold }) => WRONG.has(gold) === isWrong),
      { extract },
    );
    return [majorityAccuracy, goldShare, divergence];
  };
  return [...of(false), ...of(true)].map((x) => Number(x.toFixed(4)));
}

async function cell(arm: Arm, seed: number): Promise<number[][]> {
  const model = await start(seed);
  const reward = {
    ttrl: ttrl({ extract }),
    gold: (text: string, { row }: { row: { letter: string } }) => Number(extract(text) === row.letter),
    random: (text: string) => ((text.length * (text.charCodeAt(0) || 0) * 7919 + seed) % 13) / 13,
  }[arm];
  const { trainer } = await trainPolicy({
    ...{ model, rows: ROWS, rewards: { reward }, objective: policyObjectives.grpo(), steps: 12, promptsPerStep: 7 },
    ...{ completionsPerPrompt: 16, maxCompletionLength: 1, learningRate: 0.01, seed },
  });
  return [await report(model, seed), await report(trainer.model, seed)];
}

const results: Record<string, number[][]> = existsSync(FILE) ? JSON.parse(readFileSync(FILE, 'utf8')) : {};
for (const seed of SEEDS) {
  for (const arm of ARMS) {
    const name = `${arm} ${seed}`;
    if (name in results) continue;
    results[name] = await cell(arm, seed);
    writeFileSync(FILE, `${JSON.stringify(results, undefined, 2)}\n`);
  }
}

console.log('| prompts | policy | maj@64 | avg@64 | paid beyond what is right |\n| --- | --- | --- | --- | --- |');
for (const [prompts, at] of [
  ['majority right', 0],
  ['majority wrong', 3],
] as const) {
  const row = (name: string, of: (seed: number) => readonly number[]) => {
    const columns = [0, 1, 2].map((i) => interval(SEEDS.map((seed) => of(seed)[at + i]!)));
    console.log(`| ${prompts} | ${name} | ${columns.join(' | ')} |`);
  };
  row('before', (seed) => results[`ttrl ${seed}`]![0]!);
  for (const arm of ARMS) row(arm, (seed) => results[`${arm} ${seed}`]![1]!);
}
