import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { Key, tensor } from '../src/index.js';
import { openSafetensors } from '../src/io/index.js';
import {
  awqClip,
  awqScales,
  dequantizeInt4,
  type FloatMatrix,
  gptq,
  type Hessian,
  hqq,
  layerHessian,
  QuantizationError,
  quantizedMatmul,
  quantizedTensors,
  quantizeInt4,
  roundToGrid,
  scaleColumns,
  smoothQuantScales,
  sparseGpt,
  wanda,
} from '../src/quantization/index.js';

const goldens = join(import.meta.dirname, '../../../goldens/quantization');
const file = await openSafetensors(join(goldens, 'one-shot.safetensors'));
const searched = await openSafetensors(join(goldens, '../quantization-search/expected.safetensors'));
afterAll(() => Promise.all([file.close(), searched.close()]));
const search = JSON.parse(readFileSync(join(goldens, '../quantization-search/expected.json'), 'utf8')) as {
  awq: { name: string; duo_scaling: boolean }[];
  hqq: { name: string; bits: number; optimize: boolean }[];
};
const { gptq: cases } = JSON.parse(readFileSync(join(goldens, 'one-shot.json'), 'utf8')) as {
  gptq: { name: string; group_size: number | null; symmetric: boolean; act_order: boolean }[];
};
const read = async (name: string, from = file): Promise<FloatMatrix> => {
  const { shape, data } = await from.read(name);
  return { shape, data: data as Float32Array };
};
const goldenHessian = async () => layerHessian(await read('x'));

const largest = (values: ArrayLike<number>): number => Math.max(...Array.from(values, Math.abs));
const difference = (a: FloatMatrix, b: FloatMatrix) => largest(a.data.map((value, i) => value - b.data[i]!));

function random(rows: number, columns: number, seed: number): FloatMatrix {
  const data = Key.fromSeed(seed).uniformHost(rows * columns);
  return { shape: [rows, columns], data: Float32Array.from(data, (u) => 2 * u - 1) };
}

/** Inputs that follow a few common factors. */
function correlatedInputs(rows: number, columns: number): FloatMatrix {
  const [own, factors] = [random(rows, columns, 3), random(rows, 4, 4)];
  const data = own.data.map((value, i) => {
    const [row, column] = [Math.floor(i / columns), i % columns];
    return 0.2 * value + [0, 1, 2, 3].reduce((s, f) => s + factors.data[4 * row + f]! * Math.cos(column * (f + 1)), 0);
  });
  return { shape: [rows, columns], data };
}

const identity = (size: number): Hessian => ({
  size,
  data: Float64Array.from({ length: size * size }, (_, i) => (i % (size + 1) === 0 ? 2 : 0)),
});

/** ‖X (W - Ŵ)ᵀ‖². */
function outputError(x: FloatMatrix, w: FloatMatrix, other: FloatMatrix): number {
  const columns = w.shape[1]!;
  let total = 0;
  for (let n = 0; n < x.shape[0]!; n++) {
    for (let row = 0; row < w.shape[0]!; row++) {
      let sum = 0;
      for (let j = 0; j < columns; j++) {
        sum += x.data[n * columns + j]! * (w.data[row * columns + j]! - other.data[row * columns + j]!);
      }
      total += sum * sum;
    }
  }
  return total;
}

describe('GPTQ', () => {
  it.each(cases)('$name: the weight that llm-compressor gives', async (one) => {
    const options = { symmetric: one.symmetric, actOrder: one.act_order, groupSize: one.group_size ?? undefined };
    const result = gptq(await read('weight'), await goldenHessian(), options);
    expect(difference(result.weight, await read(`${one.name}.weight`))).toBeLessThan(2e-6);
    // Its codes are signed: zero is 8 lower.
    expect(Array.from(result.zeros, (zero) => zero - 8)).toEqual([...(await read(`${one.name}.zero`)).data]);
    const scales = await read(`${one.name}.scale`);
    expect(largest(result.scales.map((scale, i) => scale - scales.data[i]!))).toBeLessThan(1e-7);
  });

  const x = correlatedInputs(300, 64);
  const weight = random(12, 64, 5);

  it.each([
    [4, false],
    [3, false],
    [2, true],
    [8, true],
  ])('%s bits: errs less than rounding to nearest on correlated inputs, as its loss says', (bits, actOrder) => {
    const hessian = layerHessian(x);
    const options = { bits, groupSize: 32, actOrder };
    const rounded = gptq(weight, identity(64), options);
    const result = gptq(weight, hessian, options);
    const error = outputError(x, weight, result.weight);
    expect(error).toBeLessThan(0.5 * outputError(x, weight, rounded.weight));
    // ½ tr(E H Eᵀ) with H = 2/n XᵀX is ‖X Eᵀ‖² / n; the damping adds its own part of ‖E‖².
    const { loss } = gptq(weight, hessian, { ...options, dampening: 1e-9 });
    const undamped = gptq(weight, hessian, { ...options, dampening: 1e-9 }).weight;
    expect(loss / (outputError(x, weight, undamped) / 300)).toBeCloseTo(1, 3);
  });

  it('is rounding to nearest when the inputs are independent', () => {
    const diagonal = { size: 64, data: identity(64).data.map((value, i) => value * (1 + (i % 65))) };
    const rounded = dequantizeInt4(quantizeInt4(weight, { blockSize: 32 }));
    for (const hessian of [identity(64), diagonal]) {
      expect(difference(gptq(weight, hessian, { groupSize: 32 }).weight, rounded)).toBeLessThan(1e-6);
    }
  });

  it('keeps a weight that is on the grid already', () => {
    const once = gptq(weight, identity(64), { groupSize: 32 });
    const again = gptq(once.weight, layerHessian(x), { groupSize: 32 });
    expect(again.codes).toEqual(once.codes);
    expect(again.loss).toBeLessThan(1e-9);
  });

  it('gives the layout that products read', async () => {
    for (const symmetric of [false, true]) {
      const result = gptq(weight, layerHessian(x), { groupSize: 32, symmetric });
      expect(difference(dequantizeInt4(result.toInt4()), result.weight)).toBeLessThan(1e-6);
      const input = tensor(x.data.slice(0, 128), [2, 64]);
      const wanted = input.matmul(tensor(result.weight.data, [12, 64]), { transposeB: true });
      const got = quantizedMatmul(input, quantizedTensors(result.toInt4()));
      expect(largest(await got.sub(wanted).toArray())).toBeLessThan(1e-4);
    }
    expect(() => gptq(weight, identity(64), { bits: 3 }).toInt4()).toThrow('3 bits have no int4 layout');
    expect(() => gptq(weight, identity(64), { groupSize: 24 }).toInt4()).toThrow('blockSize 24');
  });

  it('refuses what it cannot use', () => {
    expect(() => gptq(weight, identity(32))).toThrow('the Hessian has 32 rows where the weight has 64 columns');
    expect(() => gptq(weight, { size: 64, data: identity(64).data.map((v) => -v) })).toThrow(/not positive definite/);
    expect(() => gptq(weight, identity(64), { bits: 1 })).toThrow('bits is 1; it must be a whole number from 2 to 8');
    expect(() => gptq(weight, identity(64), { groupSize: 0 })).toThrow(
      'groupSize is 0; it must be a whole number of at least 1',
    );
    expect(() => layerHessian({ shape: [3, 2], data: [1, 2, 3] })).toThrow(QuantizationError);
  });
});

describe('SparseGPT', () => {
  it.each([
    ['half', { sparsity: 0.5, blockSize: 16 }],
    ['most', { sparsity: 0.75, blockSize: 16 }],
    ['2-4', { pattern: [2, 4] }],
  ] as const)('%s: the weight that llm-compressor gives', async (name, options) => {
    const result = sparseGpt(await read('weight'), await goldenHessian(), options);
    expect(difference(result.weight, await read(`sparse-${name}.weight`))).toBeLessThan(1e-5);
  });

  const x = correlatedInputs(300, 64);
  const weight = random(12, 64, 6);
  const zerosOf = ({ data }: FloatMatrix) => data.filter((value) => value === 0).length;

  it('has exactly the zeros asked for, in every block or of every few', () => {
    const hessian = layerHessian(x);
    for (const sparsity of [0, 0.25, 0.5, 0.9]) {
      const { weight: pruned } = sparseGpt(weight, hessian, { sparsity, blockSize: 32 });
      expect(zerosOf(pruned)).toBe(2 * Math.floor(12 * 32 * sparsity));
    }
    for (const [zeros, of] of [
      [2, 4],
      [1, 4],
      [4, 8],
    ] as const) {
      const { data } = sparseGpt(weight, hessian, { pattern: [zeros, of] }).weight;
      for (let i = 0; i < data.length; i += of) {
        expect(data.subarray(i, i + of).filter((value) => value === 0)).toHaveLength(zeros);
      }
    }
  });

  it('errs less than pruning by magnitude on correlated inputs', () => {
    const magnitude = sparseGpt(weight, identity(64), { sparsity: 0.5 }).weight;
    const sorted = Array.from(weight.data, Math.abs).sort((a, b) => a - b);
    const threshold = sorted[sorted.length / 2]!;
    // With an identity nothing is made up for, and what goes is the smallest.
    expect(magnitude.data).toEqual(weight.data.map((value) => (Math.abs(value) < threshold ? 0 : value)));
    const pruned = sparseGpt(weight, layerHessian(x), { sparsity: 0.5 }).weight;
    expect(outputError(x, weight, pruned)).toBeLessThan(0.6 * outputError(x, weight, magnitude));
  });

  it('is the best there is when one of three weights goes: brute force over least squares', () => {
    // The first of the three goes, so one pass from left to right can make up for it in both others.
    const data = [2, 0.6, 0.5, 0.6, 1.5, 0.3, 0.5, 0.3, 1];
    const hessian = { size: 3, data: Float64Array.from(data) };
    const row = { shape: [1, 3], data: Float32Array.of(0.05, 0.9, -0.8) };
    const { weight: pruned, loss } = sparseGpt(row, hessian, { sparsity: 1 / 3 + 1e-9, dampening: 0 });
    expect(pruned.data[0]).toBe(0);
    // Without weight 0 the best others solve H₂₂ δ = H₂₀ w₀, by Cramer's rule.
    const w = row.data[0]!;
    const det = 1.5 * 1 - 0.3 * 0.3;
    const [d1, d2] = [(0.6 * 1 - 0.5 * 0.3) / det, (1.5 * 0.5 - 0.3 * 0.6) / det];
    expect(pruned.data[1]).toBeCloseTo(0.9 + w * d1, 6);
    expect(pruned.data[2]).toBeCloseTo(-0.8 + w * d2, 6);
    const error = (removed: number) => {
      const rest = [0, 1, 2].filter((i) => i !== removed);
      const h = (i: number, j: number) => data[3 * i + j]!;
      const [a, b] = rest as [number, number];
      const v = row.data[removed]!;
      const determinant = h(a, a) * h(b, b) - h(a, b) ** 2;
      const da = (v * (h(a, removed) * h(b, b) - h(b, removed) * h(a, b))) / determinant;
      const db = (v * (h(b, removed) * h(a, a) - h(a, removed) * h(a, b))) / determinant;
      const e = [0, 0, 0];
      [e[removed], e[a], e[b]] = [-v, da, db];
      return e.reduce((s, ei, i) => s + e.reduce((t, ej, j) => t + ei * h(i, j) * ej, 0), 0) / 2;
    };
    expect(loss).toBeCloseTo(error(0), 8);
    expect(error(0)).toBeLessThan(Math.min(error(1), error(2)));
  });

  it('refuses what it cannot use', () => {
    expect(() => sparseGpt(weight, identity(64), { sparsity: 1 })).toThrow(
      'sparsity is 1; it must be a number of at least 0 and below 1',
    );
    expect(() => sparseGpt(weight, identity(64), { pattern: [2, 5] })).toThrow(
      'pattern [2, 5] does not fit rows of 64',
    );
    expect(() => sparseGpt(weight, identity(64), { pattern: [4, 4] })).toThrow('pattern is [4, 4]; it must be two');
    expect(() => sparseGpt(weight, identity(64), {} as never)).toThrow('sparsity is missing, or a pattern');
    expect(() => sparseGpt(weight, identity(64), { sparsity: 0.5, pattern: [2, 4] })).toThrow('not both');
    expect(() => sparseGpt(weight, identity(8), { sparsity: 0.5 })).toThrow('the Hessian has 8 rows');
  });
});

/** The statistics of inputs [n, in], as calibration gives them. */
function statistics({ shape: [rows, columns], data }: FloatMatrix) {
  const column = (j: number) => Array.from({ length: rows! }, (_, i) => Math.abs(data[i * columns! + j]!));
  const all = Array.from({ length: columns! }, (_, j) => column(j));
  return {
    gram: layerHessian({ shape: [rows!, columns!], data }),
    meanAbs: all.map((values) => values.reduce((a, b) => a + b, 0) / rows!),
    maxAbs: all.map((values) => Math.max(...values)),
    norms: all.map((values) => Math.hypot(...values)),
  };
}
const ofGolden = async () => {
  const named = (name: string) => read(name, searched);
  return { x: await named('x'), weights: [await named('weight.0'), await named('weight.1')] as const, named };
};
const errorOf = (a: FloatMatrix, b: FloatMatrix) => a.data.reduce((s, value, i) => s + Math.abs(value - b.data[i]!), 0);

describe('AWQ', () => {
  it.each(search.awq)('$name: the scales, the ranges and the weight of AutoAWQ', async ({ name, duo_scaling }) => {
    const { x, weights, named } = await ofGolden();
    const { gram, meanAbs } = statistics(x);
    const { scales } = awqScales(weights, { gram, meanAbs }, { groupSize: 16, duoScaling: duo_scaling });
    const wanted = (await named(`awq-${name}.scales`)).data;
    expect(largest(scales.map((scale, j) => scale / wanted[j]! - 1))).toBeLessThan(1e-5);
    const scaled = scaleColumns(weights[0], scales);
    const inside = { size: 32, data: gram.data.map((v, i) => v / (scales[i % 32]! * scales[Math.floor(i / 32)]!)) };
    const cut = awqClip(scaled, inside, { groupSize: 16 });
    const limits = (await named(`awq-${name}.limits`)).data;
    const tops = Array.from(limits, (_, g) => largest(cut.data.slice(16 * g, 16 * (g + 1))));
    expect(largest(tops.map((top, g) => top / limits[g]! - 1))).toBeLessThan(1e-5);
    const rounded = roundToGrid(cut, { groupSize: 16 });
    expect(difference(rounded.weight, await named(`awq-${name}.weight`))).toBeLessThan(1e-5);
    expect(difference(dequantizeInt4(rounded.toInt4()), rounded.weight)).toBeLessThan(1e-6);
  });

  it('errs less than rounding to the nearest where features differ, and finds nothing to do where they do not', () => {
    const [x, weight] = [correlatedInputs(200, 64), random(12, 64, 5)];
    for (let i = 0; i < x.data.length; i += 64) for (const j of [5, 40]) (x.data as Float32Array)[i + j]! *= 20;
    const nearest = roundToGrid(weight, { groupSize: 32 }).weight;
    const { scales, errors } = awqScales([weight], statistics(x), { groupSize: 32, duoScaling: false });
    const awq = roundToGrid(scaleColumns(weight, scales), { groupSize: 32 }).weight;
    const back = scaleColumns(
      awq,
      scales.map((scale) => 1 / scale),
    );
    expect(outputError(x, weight, back)).toBeLessThan(0.7 * outputError(x, weight, nearest));
    // Without scales it is rounding to the nearest, and that error is the first of the list (H = 2/n XᵀX).
    expect(errors[0]! / ((2 / 200) * outputError(x, weight, nearest))).toBeCloseTo(1, 4);
    const even = { gram: identity(64), meanAbs: new Array(64).fill(1) };
    expect(awqScales([weight], even, { duoScaling: false }).scales).toEqual(new Float64Array(64).fill(1));
    expect(() => awqScales([weight], { gram: identity(8), meanAbs: [] })).toThrow('the inputs have 8 features where');
    expect(() => awqClip(weight, identity(8))).toThrow('the inputs have 8 features where a weight has 64 columns');
  });
});

describe('HQQ', () => {
  it.each(search.hqq)('$name: the codes, scales and zeros of the hqq package', async ({ name, bits, optimize }) => {
    const { weights, named } = await ofGolden();
    const result = hqq(weights[0], { bits, groupSize: 16, ...(!optimize && { iterations: 0 }) });
    expect(Array.from(result.codes)).toEqual(Array.from((await named(`${name}.codes`)).data));
    for (const part of ['zero', 'scale'] as const) {
      const wanted = (await named(`${name}.${part}`)).data;
      const got = part === 'zero' ? result.zeros : result.scales;
      expect(largest(got.map((value, i) => value - wanted[i]!))).toBeLessThan(2e-4 * largest(wanted));
    }
  });

  it('errs less than rounding to the nearest, and its zeros survive the layout', async () => {
    const drawn = Key.fromSeed(5).normalHost(12 * 72);
    const weight = { shape: [12, 72], data: Float32Array.from(drawn, (v, i) => (i % 64 === 7 ? 0.3 : 0.05) * v) };
    for (const bits of [2, 3, 4]) {
      const [nearest, moved] = [
        hqq(weight, { bits, groupSize: 32, iterations: 0 }),
        hqq(weight, { bits, groupSize: 32 }),
      ];
      expect(errorOf(moved.weight, weight)).toBeLessThan(0.97 * errorOf(nearest.weight, weight));
      expect(moved.rounds).toBeGreaterThan(1);
    }
    const result = hqq(weight, { groupSize: 32 });
    expect(difference(dequantizeInt4(result.toInt4()), result.weight)).toBeLessThan(1e-6);
    const input = tensor(random(3, 72, 8).data, [3, 72]);
    const wanted = input.matmul(tensor(result.weight.data, [12, 72]), { transposeB: true });
    const got = quantizedMatmul(input, quantizedTensors(result.toInt4()));
    expect(largest(await got.sub(wanted).toArray())).toBeLessThan(1e-4);
    expect(() => hqq(weight, { bits: 3 }).toInt4()).toThrow('3 bits have no int4 layout');
    expect(() => hqq(weight, { lpNorm: 2 })).toThrow('lpNorm is 2');
  });
});

describe('SmoothQuant', () => {
  it.each([0.5, 0.8])('strength %s: the scales of llm-compressor, which keep the product', async (strength) => {
    const { x, weights, named } = await ofGolden();
    const scales = smoothQuantScales(weights, statistics(x).maxAbs, { strength });
    const wanted = (await named(`smooth-${strength}`)).data;
    expect(largest(scales.map((scale, j) => scale / wanted[j]! - 1))).toBeLessThan(1e-5);
    const inverse = scales.map((scale) => 1 / scale);
    const product = (a: FloatMatrix, w: FloatMatrix) =>
      tensor(a.data, [64, 32])
        .matmul(tensor(w.data, [64, 32]), { transposeB: true })
        .toArray();
    const before = await product(x, weights[0]);
    const after = await product(scaleColumns(x, inverse), scaleColumns(weights[0], scales));
    expect(largest(after.map((value, i) => value - before[i]!))).toBeLessThan(1e-5 * largest(before));
    expect(() => smoothQuantScales(weights, [1, 2])).toThrow('the inputs have 2 features where a weight has 32');
  });
});

describe('Wanda', () => {
  it.each([
    ['half', { sparsity: 0.5 }],
    ['most', { sparsity: 0.75 }],
    ['2-4', { pattern: [2, 4] }],
  ] as const)('%s: keeps what llm-compressor keeps, as it is', async (name, options) => {
    const { x, weights, named } = await ofGolden();
    const kept = (await named(`wanda-${name}.kept`)).data;
    const { data } = wanda(weights[0], statistics(x).norms, options);
    expect(data).toEqual(weights[0].data.map((value, i) => (kept[i] === 1 ? value : 0)));
  });

  it('is pruning by magnitude row by row where all norms are equal, and errs less than that where they are not', () => {
    const [x, weight] = [correlatedInputs(200, 64), random(12, 64, 6)];
    for (let i = 0; i < x.data.length; i += 64) for (const j of [5, 40]) (x.data as Float32Array)[i + j]! *= 20;
    const magnitude = wanda(weight, new Array(64).fill(3), { sparsity: 0.5 });
    for (let row = 0; row < 12; row++) {
      const own = weight.data.slice(64 * row, 64 * (row + 1));
      const threshold = Array.from(own, Math.abs).sort((a, b) => a - b)[32]!;
      expect(magnitude.data.slice(64 * row, 64 * (row + 1))).toEqual(own.map((v) => (Math.abs(v) < threshold ? 0 : v)));
    }
    const pruned = wanda(weight, statistics(x).norms, { sparsity: 0.5 });
    expect(outputError(x, weight, pruned)).toBeLessThan(0.7 * outputError(x, weight, magnitude));
    expect(() => wanda(weight, [1], { sparsity: 0.5 })).toThrow('there are 1 norms where the weight has 64 columns');
    expect(() => wanda(weight, new Array(64).fill(1), { sparsity: 0.5, pattern: [1, 2] } as never)).toThrow('not both');
  });
});
