import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { type ExportOnnxOptions, exportOnnx, type OnnxTensorInfo } from '../../src/export/index.js';
import { compile, Key, normal, setEngine, type Tensor } from '../../src/index.js';
import { writeSafetensors } from '../../src/io/index.js';
import { onnxruntimeEngine } from '../../src/onnxruntime.js';
import { conformanceFunction, exportableCases } from './conformance-functions.js';
import { allElements } from './run-onnx.js';

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
