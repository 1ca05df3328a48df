/**
 * `npx tsx examples/peft-comparison/merged.ts [SEED …]`: two specialists of one base, of `before` and of `skip`, and what merges of them
 * by a recipe file know of both tasks and of what the base knew, beside the specialists and one model of both. See README.md.
 */
import { writeFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { CausalLM } from '@posttrain/lm';
import { mergeModels, readMergeRecipe } from '@posttrain/peft';
import { sft, sftStage, Trainer } from '@posttrain/training';
import { baseModel } from './base-model.js';
import { SEEDS, SIZE } from './study.js';
import { splitOf, type TaskRow } from './tasks.js';

/** The recipes: half of each difference, or of what the method keeps of it, unless it says more. */
const RECIPES: Readonly<Record<string, string>> = {
  linear: 'parameters: { weight: 0.5 }',
  task_arithmetic: 'parameters: { weight: 1.0 }',
  ties: 'parameters: { weight: 1.0, density: 0.5 }',
  dare_ties: 'parameters: { weight: 1.0, density: 0.5 }',
};

export interface MergedSize {
  readonly pretrainSteps: number;
  readonly steps: number;
  readonly held: number;
}

/** Shares of held-out rows of which every token is the most likely one. */
export interface MergedLine {
  readonly model: string;
  readonly before: number;
  readonly skip: number;
  readonly known: number;
}

/** The lines of one seed. */
export async function runMerged(seed: number, size: MergedSize = SIZE, runs?: string): Promise<MergedLine[]> {
  const base = await baseModel(seed, size.pretrainSteps, runs);
  const [before, skip] = [splitOf('before', seed, size.held), splitOf('skip', seed, size.held)];
  const stage = sftStage();
  const lineOf = async (name: string, model: CausalLM): Promise<MergedLine> => {
    const trainer = await Trainer.create(model, { optimizer: 'sgd' });
    const right = async (rows: readonly TaskRow[]) =>
      (await stage.evaluate!(trainer, { model, adapter: undefined }, [...rows])).exact_match!;
    const known = [];
    for (const rows of Object.values(before.known)) known.push(await right(rows));
    const mean = known.reduce((a, b) => a + b, 0) / known.length;
    return { model: name, before: await right(before.test), skip: await right(skip.test), known: mean };
  };
  const folder = await mkdtemp(join(tmpdir(), 'posttrain-merged-'));
  try {
    const lines = [await lineOf('base', base)];
    const sets = { before: before.train, skip: skip.train, both: [...before.train, ...skip.train] };
    await base.save(join(folder, 'base'));
    for (const [name, rows] of Object.entries(sets)) {
      const { trainer } = await sft({
        ...{ model: base, rows: [...rows], steps: size.steps, batchSize: 16, learningRate: 1e-3, seed },
        ...{ schedule: 'cosine', warmupSteps: Math.ceil(size.steps / 20), onWarning: () => {} },
      });
      lines.push(await lineOf(name, trainer.model));
      if (name !== 'both') await trainer.model.save(join(folder, name));
    }
    for (const [method, parameters] of Object.entries(RECIPES)) {
      const models = ['before', 'skip'].map((name) => `  - model: ${join(folder, name)}\n`).join('');
      const file = join(folder, `${method}.yml`);
      const baseLine = method === 'linear' ? '' : `base_model: ${join(folder, 'base')}\n`;
      await writeFile(file, `merge_method: ${method}\n${baseLine}models:\n${models}${parameters}\ndtype: float32\n`);
      const output = join(folder, `${method}-merged`);
      await mergeModels(await readMergeRecipe(file), { output, randomSeed: seed });
      lines.push(await lineOf(method, await CausalLM.load(output)));
    }
    return lines;
  } finally {
    await rm(folder, { recursive: true });
  }
}

if (process.argv[1] === import.meta.filename) {
  setEngine(onnxruntimeEngine({ threads: 1 }));
  const seeds = process.argv.length > 2 ? process.argv.slice(2).map(Number) : SEEDS;
  const runs: { readonly seed: number; readonly lines: readonly MergedLine[] }[] = [];
  for (const seed of seeds) {
    console.log(
      `\nseed ${seed}\n\n| model | \`before\`, right | \`skip\`, right | known, right |\n| --- | ---: | ---: | ---: |`,
    );
    const lines = await runMerged(seed, SIZE, join(import.meta.dirname, 'runs'));
    for (const { model, before, skip, known } of lines)
      console.log(`| \`${model}\` | ${[before, skip, known].map((x) => x.toFixed(2)).join(' | ')} |`);
    runs.push({ seed, lines });
    const text = runs.map((run) => ` ${JSON.stringify(run)}`).join(',\n');
    writeFileSync(join(import.meta.dirname, 'results', 'merged.json'), `[\n${text}\n]\n`);
  }
}
