import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  compile,
  type Engine,
  type EngineBuffer,
  type Executable,
  type Graph,
  referenceEngine,
  setEngine,
  type Tensor,
  tensor,
} from '../src/index.js';
import { type TestRunner, testEngine } from '../src/testing/index.js';
import { exampleEngine } from './example-engine.js';

/** Runs the suite on an engine, outside the test runner, and gives the names of the tests that fail. */
async function failures(engine: Engine, pattern: RegExp): Promise<string[]> {
  const tests: (readonly [string, () => Promise<void>])[] = [];
  const add = (name: string, body: () => Promise<void>) => tests.push([name, body]);
  const runner: TestRunner = { describe: (_, body) => body(), it: Object.assign(add, { skip: () => undefined }) };
  testEngine({ name: 'broken', create: () => engine, runner });
  const failed: string[] = [];
  for (const [name, body] of tests) {
    if (!pattern.test(name)) continue;
    await body().catch(() => failed.push(name));
  }
  return failed;
}

/** The reference engine with a fault in what `run` gives. */
function broken(
  fault: (run: {
    graph: Graph;
    inputs: readonly EngineBuffer[];
    outputs: EngineBuffer[];
    engine: Engine;
    donations: readonly { input: number; output: number }[];
  }) => Promise<void>,
): Engine {
  const engine = referenceEngine();
  return {
    ...engine,
    compile: async (graph, options): Promise<Executable> => {
      const inner = await engine.compile(graph, options);
      return {
        ...inner,
        run: async (inputs) => {
          const outputs = await inner.run(inputs);
          await fault({ graph, inputs, outputs, engine, donations: options.donations });
          return outputs;
        },
      };
    },
  };
}

describe('the suite notices', () => {
  it('nothing, when nothing is wrong', async () => {
    expect(
      await failures(
        broken(async () => {}),
        /tanh|donation|two tensors/,
      ),
    ).toEqual([]);
  });
  it('a value that is slightly off, forward and in the gradient', async () => {
    const engine = broken(async ({ outputs, engine: inner }) => {
      for (const output of outputs) {
        const values = await inner.read(output);
        if (values instanceof Float64Array) for (let i = 0; i < values.length; i++) values[i]! *= 1 + 1e-4;
      }
    });
    const failed = await failures(engine, /^tanh float32\[2, 4\]/);
    expect(failed).toEqual(['tanh float32[2, 4]: forward', 'tanh float32[2, 4]: gradient']);
  });
  it('an output that aliases an input', async () => {
    const engine = broken(async ({ graph, inputs, outputs, donations, engine: inner }) => {
      for (const [i, { node }] of graph.outputs.entries()) {
        const at = (graph.inputs as readonly unknown[]).indexOf(node);
        if (at >= 0) outputs[i] = inputs[at]!;
      }
      for (const { input, output } of donations) {
        const memory = await inner.read(inputs[input]!);
        memory.set(await inner.read(outputs[output]!));
        outputs[output] = inputs[input]!;
      }
    });
    const failed = await failures(engine, /donation: |memory of its own/);
    expect(failed).toContain('an input can be an output, with memory of its own');
    expect(failed).toContain('donation: the old value is also returned');
    expect(failed).toContain('donation: two states exchanged');
  });
  it('two outputs in one buffer', async () => {
    const engine = broken(async ({ graph, outputs, inputs, donations, engine: inner }) => {
      graph.outputs.forEach(({ node, index }, i) => {
        const first = graph.outputs.findIndex((other) => other.node === node && other.index === index);
        outputs[i] = outputs[first]!;
      });
      for (const { input, output } of donations) {
        const memory = await inner.read(inputs[input]!);
        memory.set(await inner.read(outputs[output]!));
        outputs[output] = inputs[input]!;
      }
    });
    expect(await failures(engine, /one value returned twice/)).toHaveLength(1);
  });
  it('an engine that throws for one case, without blaming the others', async () => {
    const engine = referenceEngine();
    const failing: Engine = {
      ...engine,
      compile: async (graph, options) => {
        if (graph.nodes.some(({ op, outputs }) => op === 'tanh' && outputs[0]!.dtype === 'float16'))
          throw new Error('no');
        return engine.compile(graph, options);
      },
    };
    expect(await failures(failing, /^tanh .*forward/)).toEqual(['tanh float16[2, 4]: forward']);
  });
  it('a skip that names no test', () => {
    const runner: TestRunner = { describe: (_, body) => body(), it: Object.assign(() => {}, { skip: () => {} }) };
    const options = { name: 'x', create: referenceEngine, runner };
    expect(() => testEngine({ ...options, skip: { 'no such test': 'why' } })).toThrow(/no such test/);
    expect(() => testEngine({ ...options, skip: { 'tanh float32[1]: forward': 'why' } })).not.toThrow();
  });
});

testEngine({ name: 'of docs/engines.md', create: exampleEngine, runner: { describe, it } });

describe('docs/engines.md', () => {
  it('has the example that passes the suite', () => {
    const example = readFileSync(join(import.meta.dirname, 'example-engine.ts'), 'utf8');
    const page = readFileSync(join(import.meta.dirname, '../../../docs/engines.md'), 'utf8');
    expect(page).toContain(example);
  });
});

describe('memory that must be given back', () => {
  it('is given back once, and not grown by steps whose results are read', async () => {
    const engine = exampleEngine();
    setEngine(engine);
    const step = compile((state: Tensor, x: Tensor) => ({ state: state.add(x), sum: state.sum() }), {
      donate: { 0: 'state' },
    });
    let state = tensor([0, 0]);
    for (let i = 0; i < 20; i++) {
      const result = await step(state, tensor([i, 1]));
      state = result.state;
      await result.sum.item();
      expect(engine.live).toBe(1);
    }
    expect(await state.toArray()).toEqual([190, 20]);
    await state.dispose();
    await step.dispose();
    expect(engine.live).toBe(0);
  });
});
