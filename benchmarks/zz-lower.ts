import { type Engine, setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { lowerGraph, CPU_TARGET } from '../packages/core-tensor/src/engines/onnxruntime/lowering.js';
import { encodeModel } from '../packages/core-tensor/src/engines/onnxruntime/proto.js';
import { createHash } from 'node:crypto';
import { findsSafeOverwrites } from '../packages/core-tensor/src/engines/onnxruntime/donation.js';
import { MODEL_CONFIGS } from './cases.js';
import { randomModel } from './random-model.js';
import { fullTrainer, loraTrainer, trainerStep } from './steps.js';
const [task, model] = process.argv.slice(2);
const inner = onnxruntimeEngine({ threads: 2 });
const cpu = () => { const c = process.cpuUsage(); return c.user / 1e3; };
const engine = Object.create(inner, { compile: { value: async (graph: never, options: any) => {
  for (let i = 0; i < 3; i++) {
  const t = cpu();
  const l = lowerGraph(graph, CPU_TARGET);
  const t1 = cpu();
  const bytes = encodeModel(l.onnx);
  const t2 = cpu();
  const safe = findsSafeOverwrites(l.onnx);
  const r = options.donations.map((d: any) => safe(`input${d.input}`, `output${d.output}`)).filter(Boolean).length;
  const t3 = cpu();
  console.log('lower', (t1 - t).toFixed(0), 'encode', (t2 - t1).toFixed(0), 'overwrites', (t3-t2).toFixed(0), l.onnx.nodes.length, r, options.donations.length, createHash('sha256').update(bytes).digest('hex').slice(0, 16));
  }
  return inner.compile(graph, options);
} } }) as Engine;
setEngine(engine);
const m = await randomModel(MODEL_CONFIGS[model as never]);
const t = task === 'sft' ? (await loraTrainer(m, 16)).trainer : await fullTrainer(m);
const step = trainerStep(t, { learningRate: 1e-4, rows: Array.from({length: 4}, (_, r) => Array.from({length: 256}, (_, i) => (i * 7 + r) % 512)) } as never);
await step().catch((e) => console.log(e.message));
await t.optimStep({learningRate: 1e-4}).catch((e: any) => console.log(e.message));
