import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import {
  type Adapter,
  adapterFor,
  CausalLM,
  ModelRunner,
  NO_ADAPTER,
  parseModelConfig,
  Tokenizer,
} from '@posttrain/lm';
import type { PeftAdapter } from '@posttrain/peft';
import { describe, expect, it } from 'vitest';
import { ADAPTER_KINDS, adapterOfKind, inputsOfKind } from './adapter-kinds.js';
import { MODEL_CONFIGS } from './cases.js';
import { largestDifference, median, ratioOf } from './compare.js';
import { fitPowerLaw } from './fit.js';
import { stepFlops } from './flops.js';
import { fromBfloat16, largestError, toBfloat16 } from './gpu/native.js';
import { emulateBlock } from './gpu/ptx-emulator.js';
import { ptxMatmul } from './gpu/ptx-matmul.js';
import { nodeKinds, productFlops } from './node-profile.js';
import { readOutput, writeOutput } from './output-file.js';
import { replaceMeasured } from './render.js';

describe('ratios of a comparison', () => {
  const taking = (seconds: number) => ({ seconds, processorSeconds: 2 * seconds, numbers: [], peakBytes: 0 });

  it('gives ratios above 1 when the peer takes longer, pair by pair', () => {
    const ratio = ratioOf({ own: [1, 2, 1].map(taking), peer: [3, 2, 4].map(taking) }, 'seconds');
    expect(ratio).toEqual({ median: 3, lowest: 1, highest: 4, ofMinima: 2 });
  });

  it('takes the middle of an even number of values as their mean', () => {
    expect(median([4, 1, 3, 2])).toBe(2.5);
  });

  it('never calls numbers equal that cannot be compared', () => {
    expect(largestDifference([1, 200], [1, 202])).toBeCloseTo(2 / 202);
    for (const [a, b] of [
      [[1], [1, 2]],
      [[], []],
      [[Number.NaN], [1]],
    ] as const) {
      expect(largestDifference(a, b)).toBeNaN();
    }
  });

  it('replaces the measured block only', () => {
    const document = (block: string) =>
      `before\n<!-- measured: start (written by run.ts) -->\n${block}\n<!-- measured: end -->\nafter\n`;
    expect(replaceMeasured(document('old'), 'new')).toBe(document('new'));
    expect(() => replaceMeasured('no block', 'new')).toThrow('measured: start');
  });

  it('writes into a file and a folder that are not there yet, and refuses others before anything is measured', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'output-'));
    try {
      const file = join(folder, 'new', 'folder', 'results.md');
      for (const block of ['first', 'second']) {
        await writeOutput(file, replaceMeasured(readOutput(file), block));
        expect(readFileSync(file, 'utf8')).toMatch(new RegExp(`^<!-- .*-->\\n${block}\\n<!-- .*-->\\n$`));
      }
      expect(() => readOutput(folder)).toThrow('is a folder; name a file');
      expect(() => readOutput(join(file, 'below.md'))).toThrow(/EEXIST|ENOTDIR/);
      writeFileSync(file, 'by hand');
      const run = join(import.meta.dirname, 'run.ts');
      const { status, stderr } = spawnSync(process.execPath, ['--import', 'tsx', run, '--output', file], {
        encoding: 'utf8',
        cwd: join(import.meta.dirname, '..'),
      });
      expect(stderr).toContain('the document has no "<!-- measured: start');
      expect(stderr).not.toContain('matmul');
      expect(status).toBe(1);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('power laws', () => {
  it('finds the exponent of a power law exactly', () => {
    const fit = fitPowerLaw([64, 128, 256, 1024].map((x) => ({ x, y: 3 * x ** 1.5 })));
    expect(fit.exponent).toBeCloseTo(1.5, 10);
    expect(fit.scale).toBeCloseTo(3, 8);
    expect(fit.standardError).toBeLessThan(1e-8);
  });

  it('gives the standard error of the textbook', () => {
    // ln x = 0, 1, 2 and ln y = 0, 2, 1: slope 1/2, residuals -1/2, 1, -1/2, so √(1.5 / 1 / 2).
    const points = [0, 2, 1].map((y, x) => ({ x: Math.exp(x), y: Math.exp(y) }));
    const fit = fitPowerLaw(points);
    expect(fit.exponent).toBeCloseTo(0.5, 12);
    expect(fit.standardError).toBeCloseTo(Math.sqrt(0.75), 12);
  });

  it('needs two sizes', () => {
    expect(() => fitPowerLaw([{ x: 2, y: 1 }])).toThrow('two different sizes');
  });
});

describe('operations of a step', () => {
  const config = { ...MODEL_CONFIGS['135m'], vocab_size: 0 };
  /** Entries of the weights of all linear layers: the 134,515,008 of the model without the embedding and 61 norms. */
  const linear = 134_515_008 - 49_152 * 576 - 61 * 576;
  const attention = (passes: number) => passes * 30 * 4 * 576;

  it('agrees with the rule of 6 operations a weight and token for all weights, 2 of them forward', () => {
    expect(stepFlops(config, { rows: 3, tokens: 1 })).toBe(3 * (6 * linear + attention(3)));
  });

  it('adds the head for predictions only', () => {
    const head = (rank?: number) =>
      stepFlops(MODEL_CONFIGS['135m'], { rows: 4, tokens: 256, rank }) -
      stepFlops(config, { rows: 4, tokens: 256, rank });
    expect(head()).toBe(6 * 4 * 255 * 49_152 * 576);
    expect(head(16)).toBe(4 * 4 * 255 * 49_152 * 576);
  });

  it('saves the gradients of the base, and of the input of the first q, k and v, with LoRA', () => {
    const without = stepFlops(config, { rows: 1, tokens: 1, rank: 0 });
    expect(without).toBe(4 * linear - 2 * 576 * (576 + 192 + 192) + attention(3));
    // 4,884,480 adapter weights at r = 16; three of the A's need no gradient of their input.
    const adapter = 6 * 4_884_480 - 2 * 16 * 3 * 576;
    expect(stepFlops(config, { rows: 1, tokens: 1, rank: 16 }) - without).toBe(adapter);
  });

  it('halves attention where it is causal: its work grows as tokens · (tokens + 1) / 2', () => {
    const pairs = (tokens: number) =>
      stepFlops(config, { rows: 1, tokens }) - tokens * (stepFlops(config, { rows: 1, tokens: 1 }) - attention(3));
    expect(pairs(256) / attention(3)).toBe((256 * 257) / 2);
  });
});

describe('times of nodes', () => {
  it('counts products whichever factor is transposed, and with leading axes', () => {
    expect(productFlops([5, 7], [7, 3], [5, 3])).toBeCloseTo(2 * 5 * 7 * 3);
    expect(productFlops([7, 5], [3, 7], [5, 3])).toBeCloseTo(2 * 5 * 7 * 3);
    expect(productFlops([2, 4, 7], [7, 3], [2, 4, 3])).toBeCloseTo(2 * 8 * 7 * 3);
    expect(productFlops([2, 6, 4, 7], [2, 6, 3, 7], [2, 6, 4, 3])).toBeCloseTo(2 * 12 * 4 * 7 * 3);
  });

  it('adds up the smallest time of every node', () => {
    const event = (name: string, op: string, dur: number) => ({
      ...{ cat: 'Node', name: `${name}_kernel_time`, dur },
      args: { op_name: op, output_type_shape: [{ float: [2, 3] }] },
    });
    const { kinds, runs } = nodeKinds([
      ...[event('a', 'Mul', 5000), event('b', 'Mul', 2000), event('c', 'Add', 1000)],
      ...[event('a', 'Mul', 3000), event('b', 'Mul', 4000), event('c', 'Add', 9000)],
      { cat: 'Session', name: 'model_run', dur: 1e6 },
    ]);
    expect(runs).toBe(2);
    expect(kinds).toEqual([
      { name: 'Mul 2×3', op: 'Mul', nodes: 2, milliseconds: 5, gigaflops: 0 },
      { name: 'Add 2×3', op: 'Add', nodes: 1, milliseconds: 1, gigaflops: 0 },
    ]);
  });
});

const [m, n] = [128, 256];

function factors(k: number) {
  const numbers = (size: number) => toBfloat16(Float32Array.from({ length: size }, () => Math.random() - 0.5));
  return { a: numbers(m * k), b: numbers(n * k), c: new Float32Array(m * n) };
}

describe('the PTX product, run by an emulator of the instructions it uses', () => {
  for (const late of [false, true]) {
    for (const k of [64, 160]) {
      it(`multiplies, k = ${k}, copies that arrive ${late ? 'as late' : 'as early'} as they may`, () => {
        const memory = factors(k);
        const ptx = ptxMatmul();
        for (const column of [0, 1]) emulateBlock(ptx, memory, { n, k, block: [column, 0], late });
        const entry = (bits: Uint16Array) => (i: number) => fromBfloat16(bits[i]!);
        const error = largestError(memory.c, { a: entry(memory.a), b: entry(memory.b), m, n, k });
        expect(error).toBeLessThan(1e-6);
      });
    }
  }

  it('would notice a wrong chunk', () => {
    const memory = factors(64);
    emulateBlock(ptxMatmul().replace('xor.b32', 'and.b32'), memory, { n, k: 64, block: [0, 0], late: false });
    const entry = (bits: Uint16Array) => (i: number) => fromBfloat16(bits[i]!);
    const first = { a: entry(memory.a), b: entry(memory.b), m, n, k: 64 };
    expect(largestError(memory.c, first)).toBeGreaterThan(1e-3);
  });
});

it('rounds to bfloat16 to nearest even', () => {
  const bits = toBfloat16(Float32Array.of(1, -2.5, 1 + 2 ** -8, 1 + 3 * 2 ** -8));
  expect(Array.from(bits, fromBfloat16)).toEqual([1, -2.5, 1, 1 + 2 ** -6]);
});

describe('every PEFT method', () => {
  it('gets in one pass with rows of LoRA and of the base what each gets alone', async () => {
    setEngine(onnxruntimeEngine({ threads: 1 }));
    // Of sizes that 64 divides, with biases for BitFit.
    const config = parseModelConfig({
      ...{ model_type: 'qwen2', vocab_size: 128, hidden_size: 64, intermediate_size: 128, num_hidden_layers: 1 },
      ...{ num_attention_heads: 2, num_key_value_heads: 2, max_position_embeddings: 64, initializer_range: 0.2 },
    });
    const tokenizer = new Tokenizer({
      tokenizer: { version: '1.0', added_tokens: [], model: { type: 'BPE', vocab: { a: 0, b: 1 }, merges: [] } },
    });
    const model = await CausalLM.initialize({ config, tokenizer, name: 'mixed' }, 1);
    const lora = await adapterOfKind(model, 'LORA');
    const steps = [[3, 1, 4, 1, 5], [9], [2]];
    const logitsOf = async (adapters: readonly Adapter[]): Promise<number[][]> => {
      const runner = new ModelRunner(model, { prefixReuse: false });
      const rows = adapters.map((adapter) => {
        const inputs = 'report' in adapter ? inputsOfKind(adapter as PeftAdapter, steps[0]!.length) : undefined;
        return { sequence: runner.start(), adapter: adapterFor(adapter, steps[0]!, inputs) };
      });
      const logits = rows.map((): number[] => []);
      for (const tokens of steps) {
        const results = await runner.extend(rows.map((row) => ({ ...row, tokens })));
        for (const [i, result] of results.entries()) logits[i]!.push(...result.logits[0]!);
      }
      return logits;
    };
    const furthest = (a: readonly number[], b: readonly number[]) => Math.max(...a.map((x, i) => Math.abs(x - b[i]!)));
    const [[base], [ofLora]] = [await logitsOf([NO_ADAPTER]), await logitsOf([lora])];
    const apart: Record<string, number> = {};
    for (const kind of ADAPTER_KINDS) {
      const adapter = await adapterOfKind(model, kind);
      const [alone] = await logitsOf([adapter]);
      const [own, beside, none] = await logitsOf([adapter, lora, NO_ADAPTER]);
      apart[kind] = furthest(alone!, base!);
      for (const [mixed, expected] of [
        [own, alone],
        [beside, ofLora],
        [none, base],
      ] as const) {
        expect(furthest(mixed!, expected!), kind).toBeLessThan(2e-5);
      }
    }
    // Else nothing would have been shown of it.
    expect(Object.entries(apart).filter(([, by]) => by < 1e-4)).toEqual([]);
  });
});
