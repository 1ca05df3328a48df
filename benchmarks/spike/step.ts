/**
 * Loss and gradient of the library's own model (the shape of SmolLM2-135M, fewer layers), as the trainer computes them:
 * first call, processor time of a step (smallest of the repetitions), most memory ever, and on request the time by op.
 *
 *     npx tsx benchmarks/spike/step.ts [--layers 4] [--full] [--batch 4] [--length 256] [--profile]
 */
import { mkdtempSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import {
  compile,
  Key,
  realize,
  setEngine,
  type Tensor,
  tensor,
  tokenLogProbs,
  valueAndGrad,
  zerosBuffer,
} from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { mapNamed, type Named } from '@posttrain/core-tensor/optim';
import { applyLinear, type LayerHooks, networkOf, parseModelConfig } from '@posttrain/lm';
import { MODEL_CONFIGS } from '../cases.js';
import { printProfile } from './profile.js';

const { values: flags } = parseArgs({
  options: {
    layers: { type: 'string', default: '4' },
    batch: { type: 'string', default: '4' },
    length: { type: 'string', default: '256' },
    repetitions: { type: 'string', default: '5' },
    full: { type: 'boolean', default: false },
    profile: { type: 'boolean', default: false },
  },
});
const [batch, length, rank] = [Number(flags.batch), Number(flags.length), 16];
const config = parseModelConfig({ ...MODEL_CONFIGS['135m'], num_hidden_layers: Number(flags.layers) });
const network = networkOf(config);
const folder = mkdtempSync(join(tmpdir(), 'posttrain-step-'));
setEngine(onnxruntimeEngine({ threads: 1, ...(flags.profile ? { profile: join(folder, 'p') } : {}) }));

/** Numbers in ±0.07, made where they stay: the most memory shall be that of the step. */
function random(shape: readonly number[], seed: number): Tensor {
  const values = new Float32Array(shape.reduce((size, dim) => size * dim, 1));
  let state = seed + 1;
  for (let i = 0; i < values.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    values[i] = (state / 2 ** 31) * 0.07;
  }
  return tensor(values, shape);
}
const weights = Object.fromEntries(network.parameters.map(({ name, shape }, i) => [name, random(shape, i)]));
const linear = [...network.modules.values()].filter(({ kind }) => kind === 'linear');
const adapters: Named = Object.fromEntries(
  linear.flatMap(({ name, inFeatures, outFeatures }, i) => [
    [`${name}.A`, random([rank, inFeatures], 1000 + i)],
    [`${name}.B`, random([outFeatures, rank], 2000 + i)],
  ]),
);
const ids = (seed: number) => {
  const draws = Key.fromSeed(seed).uniformHost(batch * length);
  return tensor(
    Int32Array.from(draws, (u) => Math.floor(u * config.vocabSize)),
    [batch, length],
  );
};
const [tokens, targets] = [ids(1), ids(2).reshape([batch * length])];
const positions = tensor(
  Int32Array.from({ length: batch * length }, (_, i) => i % length),
  [batch, length],
);
const segments = tensor(new Int32Array(batch * length), [batch, length]);
await realize([...Object.values(weights), ...Object.values(adapters), targets]);

function lossOf(parameters: Named, base: Named, batchOf: Tensor[]): Tensor {
  const [inputTokens, inputPositions, inputSegments, labels] = batchOf as [Tensor, Tensor, Tensor, Tensor];
  const all = flags.full ? parameters : base;
  const hooks: LayerHooks = flags.full
    ? {}
    : {
        linear(x, layer) {
          const narrow = applyLinear(x, parameters[`${layer.name}.A`]!, undefined, false).mul(2);
          return layer.apply(x).add(applyLinear(narrow, parameters[`${layer.name}.B`]!, undefined, false));
        },
      };
  const input = { tokens: inputTokens, positions: inputPositions, segments: inputSegments };
  const hidden = network.hidden(all, input, hooks).reshape([batch * length, config.hiddenSize]);
  return tokenLogProbs(hidden, network.head(all, hooks), labels).logProbs.mean().neg();
}

/** Gradients are added to those of earlier calls, in place. */
const step = compile(
  (total: Named, parameters: Named, base: Named, batchOf: Tensor[]) => {
    const { value, gradient } = valueAndGrad((p: Named) => lossOf(p, base, batchOf))(parameters);
    return { value, total: mapNamed(total, (x, name) => x.add((gradient as Named)[name]!)) };
  },
  { donate: { 0: 'total' } },
);
const [parameters, base] = flags.full ? [weights, {}] : [adapters, weights];
let total = mapNamed(parameters, ({ shape }) => zerosBuffer(shape));
const run = async () => {
  const result = await step(total, parameters, base, [tokens, positions, segments, targets]);
  total = result.total;
  return result.value;
};

const start = performance.now();
const loss = await (await run()).item();
const compiled = performance.now() - start;
let best = Number.POSITIVE_INFINITY;
for (let i = 0; i < Number(flags.repetitions); i++) {
  const before = process.cpuUsage();
  await run();
  best = Math.min(best, process.cpuUsage(before).user / 1000);
}
console.log(
  `${flags.full ? 'full' : 'LoRA'} ${flags.layers} layers ${batch} × ${length}: first call ${compiled.toFixed(0)} ms, ` +
    `step ${best.toFixed(0)} ms of processor time, ${(process.resourceUsage().maxRSS / 1024).toFixed(0)} MiB; ` +
    `loss ${loss.toFixed(6)}`,
);
await step.dispose();
if (flags.profile) for (const name of readdirSync(folder).slice(-1)) printProfile(join(folder, name));
