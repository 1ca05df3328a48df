/**
 * The default engine against TensorFlow.js on the same graphs, one after the other in turns, in this process:
 * `npx tsx benchmarks/tfjs.ts [PAIRS]`. `TFJS_NODE_FOLDER` adds tfjs-node (docs/tfjs-node.md).
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compile, type Engine, Key, normal, realize, setEngine, type Tensor } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { adamW } from '@posttrain/core-tensor/optim';
import { type Tfjs, tfjsEngine } from '@posttrain/core-tensor/tfjs';
import { CausalLM, parseModelConfig, Tokenizer } from '@posttrain/lm';
import { createAdapter, lora } from '@posttrain/peft';
import { negativeLogLikelihood, Trainer } from '@posttrain/training';

const pairs = Number(process.argv[2] ?? 7);
const SIZE = 512;
const CONFIG = {
  model_type: 'llama',
  vocab_size: 1024,
  hidden_size: 128,
  intermediate_size: 256,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 512,
  rms_norm_eps: 1e-5,
  rope_theta: 10_000,
  tie_word_embeddings: true,
  initializer_range: 0.05,
};

/** One measurement; gives a number that every engine must agree on. */
type Work = () => Promise<number>;

async function product(): Promise<Work> {
  const [a, b] = [0, 1].map((seed) => normal(Key.fromSeed(seed).toTensor(), [SIZE, SIZE])) as [Tensor, Tensor];
  await realize([a, b]);
  const multiply = compile((x: Tensor, y: Tensor) => x.matmul(y).sum());
  return async () => (await multiply(a, b)).item();
}

async function loraStep(folder: string): Promise<Work> {
  const tokenizer = await Tokenizer.load(folder);
  const model = await CausalLM.initialize({ config: parseModelConfig(CONFIG), tokenizer, name: 'random' }, 0);
  const adapter = await createAdapter(model, lora, { r: 8, loraAlpha: 16, targetModules: 'all-linear' }, { seed: 0 });
  const trainer = await Trainer.create(model, { optimizer: adamW(), adapter });
  const rows = [0, 1].map((row) => ({
    tokens: Array.from({ length: 65 }, (_, i) => (row * 31 + i * 7) % CONFIG.vocab_size),
    weights: new Float32Array(64).fill(1 / 128),
  }));
  return async () => {
    const { loss } = await trainer.forwardBackward(rows, negativeLogLikelihood);
    await trainer.optimStep({ learningRate: 1e-3 });
    return loss;
  };
}

async function engines(): Promise<Map<string, Engine>> {
  const found = new Map<string, Engine>([
    ['onnxruntime', onnxruntimeEngine()],
    ['tfjs wasm', await tfjsEngine({ backend: 'wasm' })],
  ]);
  const folder = process.env.TFJS_NODE_FOLDER;
  if (folder) {
    const tf = createRequire(join(folder, 'package.json'))('@tensorflow/tfjs-node') as Tfjs;
    found.set('tfjs-node', await tfjsEngine({ tf, backend: 'tensorflow' }));
  }
  return found;
}

async function measure(what: string, all: ReadonlyMap<string, Engine>, make: () => Promise<Work>): Promise<string[]> {
  const works = new Map<string, Work>();
  for (const [name, engine] of all) {
    setEngine(engine);
    works.set(name, await make());
  }
  const times = new Map([...all.keys()].map((name) => [name, [] as number[]]));
  for (let pair = -2; pair < pairs; pair++) {
    const numbers: number[] = [];
    for (const [name, engine] of all) {
      setEngine(engine);
      const start = performance.now();
      numbers.push(await works.get(name)!());
      if (pair >= 0) times.get(name)!.push(performance.now() - start);
    }
    if (numbers.some((x) => Math.abs(x - numbers[0]!) > 1e-3 * (1 + Math.abs(numbers[0]!)))) {
      throw new Error(`${what}: the engines do not agree: ${numbers.join(', ')}`);
    }
  }
  const own = times.get('onnxruntime')!;
  return [...times].map(([name, theirs]) => {
    const ratios = theirs.map((time, i) => time / own[i]!).sort((a, b) => a - b);
    const spread = `${ratios[0]!.toFixed(2)}–${ratios.at(-1)!.toFixed(2)}`;
    const ofMinima = Math.min(...theirs) / Math.min(...own);
    const cells = [
      what,
      name,
      Math.min(...theirs).toFixed(1),
      ofMinima.toFixed(1),
      `${median(ratios).toFixed(1)} [${spread}]`,
    ];
    return `| ${cells.join(' | ')} |`;
  });
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;

const folder = mkdtempSync(join(tmpdir(), 'posttrain-benchmark-'));
try {
  const vocabulary = { version: '1.0', added_tokens: [], model: { type: 'BPE', vocab: { a: 0, b: 1 }, merges: [] } };
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(vocabulary));
  const all = await engines();
  const lines = [
    ...(await measure(`matmul ${SIZE}`, all, product)),
    ...(await measure('LoRA step, 2 layers of 128, 2 × 64 tokens', all, () => loraStep(folder))),
  ];
  console.log('| what | engine | shortest, ms | time / onnxruntime, of the shortest | pair by pair, median [spread] |');
  console.log('| --- | --- | --- | --- | --- |');
  for (const line of lines) console.log(line);
} finally {
  rmSync(folder, { recursive: true });
}
