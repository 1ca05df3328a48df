/**
 * A training step, or generation by 1 and 16 rows, with the kernels of our own and without, in turns in one run: processor and wall
 * seconds of each, and the ratio.
 *
 * usage: npx tsx benchmarks/kernel-steps.ts [--model 135m] [--task full|sft|generate] [--quantization '{"method":"nf4"}'] [--threads 1]
 *   [--repetitions 3] [--tokens 32]
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { fullSettings, generateSettings, MODEL_CONFIGS, type ModelName, sftSettings } from './cases.js';
import { largestDifference, median } from './compare.js';
import { Side } from './side.js';

const { values: flags } = parseArgs({
  options: {
    model: { type: 'string', default: '135m' },
    task: { type: 'string', default: 'full' },
    threads: { type: 'string', default: '1' },
    repetitions: { type: 'string', default: '3' },
    quantization: { type: 'string' },
    tokens: { type: 'string', default: '32' },
  },
});
const folder = mkdtempSync(join(tmpdir(), 'posttrain-kernel-steps-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
const name = flags.model as ModelName;
const own = [process.execPath, ...process.execArgv, join(import.meta.dirname, 'own.ts')];
const [config, model, settings] = ['config.json', 'model', 'settings.json'].map((file) => join(folder, file)) as [
  string,
  string,
  string,
];
writeFileSync(config, JSON.stringify(MODEL_CONFIGS[name]));
spawnSync(own[0]!, [...own.slice(1), 'prepare', config, model], { stdio: 'inherit' });
const isGeneration = flags.task === 'generate';
const given = isGeneration
  ? generateSettings(name, model, { batches: [1, 16], newTokens: Number(flags.tokens) })
  : (flags.task === 'sft' ? sftSettings : fullSettings)(name, model);
const quantization = flags.quantization === undefined ? {} : { quantization: JSON.parse(flags.quantization) };
writeFileSync(settings, JSON.stringify({ ...given, ...quantization }));
const start = (env: NodeJS.ProcessEnv) => Side.start([...own, settings, flags.threads], { ...process.env, ...env });
const sides = [await start({ POSTTRAIN_KERNELS: 'off' }), await start({})] as const;
for (const [index, { name: what }] of given.cases.entries()) {
  const seconds: [number, number][] = [];
  for (let turn = -1; turn < Number(flags.repetitions); turn++) {
    const [without, withThem] = [await sides[0].measure(index), await sides[1].measure(index)];
    const difference = isGeneration
      ? otherTokens(withThem.numbers, without.numbers)
      : largestDifference(withThem.numbers, without.numbers);
    if (!isGeneration && !(difference < 1e-4))
      throw new Error(`another loss: ${withThem.numbers} and ${without.numbers}`);
    console.log(
      `${what}, ${turn < 0 ? 'first' : turn}: processor ${without.processorSeconds.toFixed(2)} → ${withThem.processorSeconds.toFixed(2)} s, ` +
        `wall ${without.seconds.toFixed(2)} → ${withThem.seconds.toFixed(2)} s, ` +
        `${isGeneration ? `${(100 * difference).toFixed(0)}% other tokens` : `losses differ by ${difference.toExponential(0)}`}; load ${loadavg()[0]!.toFixed(1)}`,
    );
    if (turn >= 0) seconds.push([without.processorSeconds, withThem.processorSeconds]);
  }
  const ratios = seconds.map(([without, withThem]) => without / withThem).sort((x, y) => x - y);
  const bests = [0, 1].map((side) => Math.min(...seconds.map((pair) => pair[side]!)).toFixed(2));
  console.log(
    `${cpus()[0]!.model.trim()}: ${flags.task} ${name} ${flags.quantization ?? ''} ${what}, ${flags.threads} thread(s): processor time, bests ${bests.join(' → ')} s, ` +
      `ratio ${median(ratios).toFixed(2)} [${ratios[0]!.toFixed(2)}–${ratios.at(-1)!.toFixed(2)}]`,
  );
}
for (const side of sides) await side.stop();

/** The share of tokens that are others: sums are rounded otherwise, and random weights have near ties everywhere. */
function otherTokens(a: readonly number[], b: readonly number[]): number {
  return a.filter((token, i) => token !== b[i]).length / a.length;
}
