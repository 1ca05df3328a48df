import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type ExportOnnxOptions,
  encodeOnnx,
  exportOnnx,
  type OnnxOperators,
  type OnnxTensorInfo,
} from '../../src/export/index.js';
import {
  compile,
  gelu,
  Key,
  layerNorm,
  normal,
  scalar,
  selfAttention,
  setEngine,
  type Tensor,
  type TypedArray,
  tensor,
  tokenLogProbs,
  valueAndGrad,
  zeros,
} from '../../src/index.js';
import { openSafetensors, type SafetensorsFile, writeSafetensors } from '../../src/io/index.js';
import { onnxruntimeEngine } from '../../src/onnxruntime.js';
import { adamW, type Named } from '../../src/optim/index.js';
import { conformanceFunction, exportableCases } from './conformance-functions.js';
import { allElements, runOnnx } from './run-onnx.js';

describe('goldens', () => {
  // The settings of goldens/onnx/make.py.
  const [HEADS, WINDOW, CAP, RATE] = [2, 3, 2, 0.01];

  let file: SafetensorsFile;
  beforeAll(async () => {
    setEngine(onnxruntimeEngine());
    file = await openSafetensors(join(import.meta.dirname, '../../../../goldens/onnx/step.safetensors'));
  });
  afterAll(() => file.close());

  const read = async (name: string): Promise<Tensor> => {
    const { data, shape, dtype } = await file.read(name);
    return tensor(data, shape, dtype);
  };
  const names = () => [...file.tensors.keys()].flatMap((key) => /^before\.(.*)$/.exec(key)?.[1] ?? []);
  const weightsOf = async (): Promise<Record<string, Tensor>> =>
    Object.fromEntries(await Promise.all(names().map(async (name) => [name, await read(`before.${name}`)])));

  function hiddenOf(w: Named, ids: Tensor): Tensor {
    const [b, s] = ids.shape as [number, number];
    const x = w.embedding!.gather(ids);
    const h = layerNorm(x, w['norm.weight']!, w['norm.bias']!, { epsilon: 1e-5 });
    const width = x.shape[2]!;
    const heads = (name: string) =>
      h
        .matmul(w[name]!)
        .reshape([b, s, HEADS, width / HEADS])
        .transpose([0, 2, 1, 3]);
    const how = { scale: 1 / Math.sqrt(width / HEADS), slidingWindow: WINDOW, softCap: CAP };
    const mixed = selfAttention(heads('q'), heads('k'), heads('v'), { ...how, segments: zeros([b, s], 'int32') });
    const y = x.add(mixed.transpose([0, 2, 1, 3]).reshape([b, s, width]).matmul(w.o!));
    return y.add(gelu(y.matmul(w.up!)).matmul(w.down!));
  }

  const optimizer = adamW({ beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1 });
  interface State {
    readonly w: Named;
    readonly inner: ReturnType<typeof optimizer.init>;
  }

  function step({ w, inner }: State, ids: Tensor, rate: Tensor) {
    const [b, s] = ids.shape as [number, number];
    const lossOf = (weights: Named) => {
      const states = hiddenOf(weights, ids).slice(1, 0, s - 1);
      const targets = ids.slice(1, 1).reshape([-1]);
      return tokenLogProbs(states.reshape([b * (s - 1), -1]), weights.head!, targets)
        .logProbs.mean()
        .neg();
    };
    const { value, gradient } = valueAndGrad(lossOf)(w);
    const { parameters, state } = optimizer.update(w, gradient as Named, inner, rate);
    return { state: { w: parameters, inner: state }, loss: value, gradient };
  }

  async function expectClose(found: ArrayLike<number>, name: string, tolerance: number): Promise<void> {
    const { data } = await file.read(name);
    expect(found.length, name).toBe(data.length);
    const worst = Array.from(data as Float32Array).reduce((most, x, i) => Math.max(most, Math.abs(found[i]! - x)), 0);
    expect(worst, name).toBeLessThan(tolerance);
  }

  describe.each<OnnxOperators>(['standard', 'contrib'])('exported with %s operators', (operators) => {
    it('a forward pass has the logits of torch', async () => {
      const [w, ids] = [await weightsOf(), await read('ids')];
      const forward = (weights: Named, tokens: Tensor) => hiddenOf(weights, tokens).matmul(weights.head!.transpose());
      const exported = await encodeOnnx(forward, [w, ids], { operators });
      const [logits] = await runOnnx(exported.bytes, exported, [w, ids]);
      await expectClose(logits as Float32Array, 'logits', 1e-5);
    });

    it('a training step has the losses, gradients and weights of torch, step after step', async () => {
      const [w, ids, rate] = [await weightsOf(), await read('ids'), scalar(RATE)];
      let state: State = { w, inner: optimizer.init(w) };
      const exported = await encodeOnnx(step, [state, ids, rate], { operators, inputNames: ['state', 'ids', 'rate'] });
      const losses: number[] = [];
      for (const count of [1, 2]) {
        const results = await runOnnx(exported.bytes, exported, [state, ids, rate]);
        const output = (name: string) => {
          const at = exported.outputs.findIndex((info) => info.name === name);
          return { info: exported.outputs[at]!, data: results[at] as TypedArray };
        };
        losses.push(Number(output('loss').data[0]));
        for (const name of names()) {
          await expectClose(output(`next.state.w.${name}`).data as Float32Array, `after-${count}.${name}`, 1e-5);
          if (count === 1) await expectClose(output(`gradient.${name}`).data as Float32Array, `gradient.${name}`, 1e-5);
        }
        const next = exported.outputs.filter(({ name }) => name.startsWith('next.'));
        state = fill(state, new Map(next.map(({ name }) => [name.slice('next.'.length), output(name)])));
      }
      await expectClose(losses, 'losses', 1e-5);
      expect(losses[1]).toBeLessThan(losses[0]!);
    });
  });

  /** The state with the tensors that a run gave, by their paths. */
  function fill(
    state: State,
    found: ReadonlyMap<
      string,
      {
        readonly info: { readonly shape: readonly number[]; readonly dtype: Tensor['dtype'] };
        readonly data: TypedArray;
      }
    >,
  ): State {
    const walk = (value: unknown, path: string): unknown => {
      const output = found.get(path);
      if (output) return tensor(output.data as Float32Array, output.info.shape, output.info.dtype);
      return Object.fromEntries(
        Object.entries(value as object).map(([key, one]) => [key, walk(one, `${path}.${key}`)]),
      );
    };
    return walk(state, 'state') as State;
  }
});

/*
 * Exported files in the onnx package's checker and in Python's ONNX Runtime. Needs a Python with the packages of
 * goldens/requirements.txt, so it runs only when asked:
 * PYTHON=/path/to/python npx vitest run packages/core-tensor/test/export/onnx-checker
 */
const python = process.env.PYTHON;
const program = join(import.meta.dirname, '../../../../goldens/onnx/verify_ours.py');

const weight = normal(Key.fromSeed(1).toTensor(), [50, 50]).cast('bfloat16');
const withBigWeight = {
  f: (x: Tensor) => x.matmul(weight.cast('float32')),
  args: [normal(Key.fromSeed(2).toTensor(), [3, 50])],
};

it.for<ExportOnnxOptions>([
  { operators: 'standard' },
  { operators: 'standard', weights: 'external' },
  { operators: 'contrib' },
])('with %j', { timeout: 600_000 }, async (options, context) => {
  if (python === undefined) return context.skip('set PYTHON to an interpreter with goldens/requirements.txt');
  setEngine(onnxruntimeEngine());
  const folder = await mkdtemp(join(tmpdir(), 'onnx-checker-'));
  try {
    const functions = [...exportableCases().map((one) => conformanceFunction([one])), withBigWeight];
    for (const [i, { f, args }] of functions.entries()) {
      const run = f as (...tensors: unknown[]) => unknown;
      const { inputs, outputs } = await exportOnnx(join(folder, `${i}.onnx`), run, args, options);
      await writeSafetensors(join(folder, `${i}.safetensors`), [
        ...named('input', inputs, await allElements(args)),
        ...named('output', outputs, await allElements(await compile(run)(...args))),
      ]);
    }
    const args = [program, folder, ...(options.operators === 'contrib' ? ['--contrib'] : [])];
    const { stdout } = await promisify(execFile)(python, args, { maxBuffer: 1e8 }).catch(
      (error: { stdout: string; stderr: string }) => {
        throw new Error(
          `${error.stdout
            .split('\n')
            .filter((line) => !line.endsWith('as expected'))
            .join('\n')}\n${error.stderr}`,
        );
      },
    );
    expect(stdout).toContain(`${functions.length} models`);
  } finally {
    await rm(folder, { recursive: true });
  }
});

const named = (kind: string, infos: readonly OnnxTensorInfo[], data: Awaited<ReturnType<typeof allElements>>) =>
  infos.map(({ name, shape, dtype }, i) => ({ name: `${kind}.${name}`, shape, dtype, data: data[i]! as Float32Array }));
