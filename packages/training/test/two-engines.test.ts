import { join } from 'node:path';
import { type Engine, referenceEngine, setEngine } from '@posttrain/core-tensor';
import { loadWeights, ModelRunner, sequenceLogProbs } from '@posttrain/lm';
import { createAdapter, lora } from '@posttrain/peft';
import { expect, it } from 'vitest';
import { negativeLogLikelihood, Trainer, type TrainingRow } from '../src/index.js';
import { modelOf } from './model.js';

const folder = join(import.meta.dirname, '../../../goldens/models/qwen3');
const rows: TrainingRow[] = [
  [3, 17, 44, 9, 120, 7],
  [9, 2, 61],
].map((tokens) => ({ tokens, weights: tokens.slice(1).map(() => 1 / 7) }));

/** A reference engine that counts the graphs it is given; without `may` it refuses them. */
function counting(may = true): { readonly engine: Engine; readonly graphs: () => number } {
  let graphs = 0;
  const inner = referenceEngine();
  const compile: Engine['compile'] = (graph, options) => {
    if (!may) throw new Error('a graph of a run was given to the engine that is set');
    graphs++;
    return inner.compile(graph, options);
  };
  return { engine: { ...inner, compile }, graphs: () => graphs };
}

/** Loads, adapts, trains, diagnoses, scores and generates; between any two awaits the other run may go on. */
async function run(engine: Engine, seed: number): Promise<unknown> {
  const model = modelOf(await loadWeights(folder, { engine }));
  const adapter = await createAdapter(model, lora, { r: 2, targetModules: ['q_proj', 'v_proj'] }, { seed });
  const trainer = await Trainer.create(model, { optimizer: 'adamw_torch', adapter, seed });
  const losses: number[] = [];
  for (let step = 0; step < 2; step++) {
    losses.push((await trainer.forwardBackward(rows, negativeLogLikelihood)).loss);
    losses.push((await trainer.optimStep({ learningRate: 0.05 })).gradNorm);
  }
  const options = { adapter: trainer.adapter };
  const [scored] = await sequenceLogProbs(model, [[3, 17, 44, 9]], options);
  const runner = new ModelRunner(model);
  const [extended] = await runner.extend([{ sequence: runner.start([], trainer.adapter), tokens: [3, 17, 44] }]);
  return { losses, scored: [...scored!.logProbs], logits: extended!.logits.map((row) => [...row]) };
}

it('models, adapters, trainers and runners of two engines, interleaved, stay on their own', async () => {
  const alone = [counting(), counting()];
  const wanted = [await run(alone[0]!.engine, 1), await run(alone[1]!.engine, 2)];
  const [a, b] = [counting(), counting()];
  setEngine(counting(false).engine);
  expect(await Promise.all([run(a.engine, 1), run(b.engine, 2)])).toEqual(wanted);
  expect([a.graphs(), b.graphs()]).toEqual(alone.map(({ graphs }) => graphs()));
});
