import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { simplify } from '../src/graph/simplify.js';
import {
  type CrossEntropyOptions,
  crossEntropy,
  type Engine,
  grad,
  Key,
  referenceEngine,
  type Tensor,
  tensor,
  tokenLogProbs,
  valueAndGrad,
  zeros,
} from '../src/index.js';
import { openSafetensors } from '../src/io/index.js';
import { onnxruntimeEngine } from '../src/onnxruntime.js';
import { captureLeaves } from '../src/realize.js';
import { sizeOf } from '../src/shape.js';
import { expectClose } from '../src/testing/check-case.js';
import { onEngine } from '../src/testing/on-engine.js';

const folder = join(import.meta.dirname, '../../../goldens/cross-entropy');
const file = await openSafetensors(join(folder, 'cross-entropy.safetensors'));
const golden = new Map<string, Tensor>();
for (const name of file.tensors.keys()) {
  const { data, shape } = await file.read(name);
  golden.set(name, tensor(data, shape));
}
await file.close();

interface Facts {
  readonly cases: readonly {
    readonly name: string;
    readonly scale: number;
    readonly reduction: NonNullable<CrossEntropyOptions['reduction']>;
    readonly label_smoothing: number;
    readonly z_loss: number;
  }[];
  readonly samplers: readonly {
    readonly temperature: number;
    readonly scale: number;
    readonly soft_cap: number | null;
  }[];
}
const { cases, samplers } = JSON.parse(readFileSync(join(folder, 'cross-entropy.json'), 'utf8')) as Facts;

const engines: [string, Engine][] = [
  ['reference', referenceEngine()],
  ['onnxruntime', onnxruntimeEngine({ threads: 1 })],
];
const get = (name: string): Tensor => golden.get(name)!;
const matches = async (what: string, got: Tensor, name: string, tolerance = 2e-5) =>
  expectClose(what, await got.toArray(), await get(name).toArray(), tolerance);

describe.each(engines)('crossEntropy on %s', (_, engine) => {
  it.each(cases)('$name, with gradients, is torch’s in one chunk and in many', async (one) => {
    const { name, scale, reduction, label_smoothing: labelSmoothing, z_loss: zLoss } = one;
    await onEngine(engine, async () => {
      for (const chunkSize of [37, 10]) {
        const loss = (p: { hidden: Tensor; head: Tensor }) =>
          crossEntropy(p.hidden, p.head, get('labels'), { reduction, labelSmoothing, zLoss, chunkSize });
        const inputs = { hidden: get('hidden').mul(scale), head: get('head') };
        await matches('loss', loss(inputs), `${name}.loss`);
        const gradient = grad((p: typeof inputs) =>
          reduction === 'none' ? loss(p).mul(get('weights')).sum() : loss(p),
        )(inputs);
        await matches('gradient to hidden', gradient.hidden, `${name}.d_hidden`);
        await matches('gradient to head', gradient.head, `${name}.d_head`);
        // A frozen head takes another way to the same gradient.
        const frozen = grad((hidden: Tensor) => {
          const value = loss({ hidden, head: inputs.head });
          return reduction === 'none' ? value.mul(get('weights')).sum() : value;
        })(inputs.hidden);
        await matches('gradient to hidden alone', frozen, `${name}.d_hidden`);
      }
    });
  });
  it.each(samplers)(
    'tokenLogProbs at temperature $temperature of logits × $scale, soft cap $soft_cap, is torch’s',
    async (sampler) => {
      const { temperature, scale, soft_cap: cap } = sampler;
      const name = `sampler-${temperature === 1 ? '1.0' : temperature}${cap === null ? '' : `-cap-${cap}`}`;
      const softCap = cap ?? undefined;
      await onEngine(engine, async () => {
        for (const chunkSize of [37, 9]) {
          const values = (hidden: Tensor, head: Tensor) =>
            tokenLogProbs(hidden, head, get('targets'), { temperature, chunkSize, softCap });
          const loss = (hidden: Tensor, head: Tensor) => {
            const { logProbs, entropies } = values(hidden, head);
            const flipped = get('weights').gather(tensor([11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0], undefined, 'int32'));
            return logProbs.mul(get('weights')).sum().add(entropies.mul(flipped).sum().mul(0.3));
          };
          const hidden = get('hidden').mul(scale);
          const { logProbs, entropies } = values(hidden, get('head'));
          await matches('log-probabilities', logProbs, `${name}.log_probs`);
          await matches('entropies', entropies, `${name}.entropies`);
          const both = grad((p: Tensor[]) => loss(p[0]!, p[1]!))([hidden, get('head')]);
          await matches('gradient to hidden', both[0]!, `${name}.d_hidden`, 5e-5);
          await matches('gradient to head', both[1]!, `${name}.d_head`, 5e-5);
          const alone = grad((h: Tensor) => loss(h, get('head')))(hidden);
          await matches('gradient to hidden alone', alone, `${name}.d_hidden`, 5e-5);
        }
      });
    },
  );
  it('uniform logits give -log V, log V, and no greedy token that is worse than another', async () => {
    await onEngine(engine, async () => {
      const options = { chunkSize: 100 };
      const targets = tensor([0, 500, 998], undefined, 'int32');
      const { logProbs, entropies, isGreedy, logSumExps } = tokenLogProbs(
        zeros([3, 4]),
        zeros([999, 4]),
        targets,
        options,
      );
      const logV = Math.log(999);
      expectClose('log-probabilities', await logProbs.toArray(), [-logV, -logV, -logV], 1e-6);
      expectClose('entropies', await entropies.toArray(), [logV, logV, logV], 1e-6);
      expectClose('log of the sum', await logSumExps.toArray(), [logV, logV, logV], 1e-6);
      expect(await isGreedy.toArray()).toEqual([1, 1, 1]);
    });
  });
  it('greedy means that no chunk has a likelier token', async () => {
    await onEngine(engine, async () => {
      const logits = [1, 5, 2, 5, 0, 3, 4.999];
      const head = tensor(logits, [7, 1]);
      const ask = async (chunkSize: number) =>
        tokenLogProbs(zeros([7, 1]).add(1), head, tensor([0, 1, 2, 3, 4, 5, 6], undefined, 'int32'), {
          chunkSize,
        }).isGreedy.toArray();
      for (const chunkSize of [1, 2, 3, 7]) expect(await ask(chunkSize)).toEqual([0, 1, 0, 1, 0, 0, 0]);
    });
  });
  it('stays finite, with its gradients, at logits of ±1e4 in one row', async () => {
    await onEngine(engine, async () => {
      const head = tensor([1e4, -1e4, 0, 9999, 1e4], [5, 1]);
      const hidden = tensor([1, -1, 1], [3, 1]);
      const targets = tensor([0, 0, 1], undefined, 'int32');
      for (const chunkSize of [1, 2, 5]) {
        const { logProbs, entropies } = tokenLogProbs(hidden, head, targets, { chunkSize });
        const pair = Math.log(2 + Math.exp(-1));
        expectClose('log-probabilities', await logProbs.toArray(), [-pair, -2e4, -2e4 - pair], 1e-6);
        const entropy = pair + Math.exp(-1) / (2 + Math.exp(-1));
        expectClose('entropies', await entropies.toArray(), [entropy, 0, entropy], 1e-6);
        const loss = (p: Tensor[]) => {
          const { logProbs: l, entropies: h } = tokenLogProbs(p[0]!, p[1]!, targets, { chunkSize });
          return l.sum().add(h.sum());
        };
        for (const g of grad(loss)([hidden, head])) {
          expect((await g.toArray()).every((x) => Number.isFinite(x))).toBe(true);
        }
      }
    });
  });
  it('gradients of log p and entropy are the same however the vocabulary is cut', async () => {
    const values = (count: number, seed: number) =>
      Float32Array.from(Key.fromSeed(seed).uniformHost(count), (u) => 4 * u - 2);
    await onEngine(engine, async () => {
      const inputs = [tensor(values(30, 1), [6, 5]), tensor(values(60, 2), [12, 5])];
      const targets = tensor([0, 3, 11, 6, 5, 2], undefined, 'int32');
      const of = async (chunkSize: number) => {
        const gradients = grad((p: Tensor[]) => {
          const { logProbs, entropies, logSumExps } = tokenLogProbs(p[0]!, p[1]!, targets, { chunkSize });
          return logProbs.sum().add(entropies.square().sum()).add(logSumExps.sin().sum());
        })(inputs);
        return [...(await gradients[0]!.toArray()), ...(await gradients[1]!.toArray())];
      };
      const whole = await of(12);
      for (const chunkSize of [1, 5, 11]) expectClose(`chunks of ${chunkSize}`, await of(chunkSize), whole, 1e-5);
    });
  });
});

describe('the graph of tokenLogProbs', () => {
  it('has no value as large as the logits of the batch, forward or backward', () => {
    const [n, d, vocabulary, chunkSize] = [64, 4, 500, 50];
    const inputs = [zeros([n, d]), zeros([vocabulary, d])];
    const loss = (p: Tensor[]) => {
      const { logProbs, entropies } = tokenLogProbs(p[0]!, p[1]!, zeros([n], 'int32'), { chunkSize });
      return logProbs.sum().add(entropies.square().sum());
    };
    const largest = (tensors: readonly Tensor[]) => {
      const { graph } = captureLeaves(
        tensors.map(({ value }) => value),
        [],
      );
      const { nodes } = simplify(graph, { kernels: new Set() });
      return Math.max(...nodes.flatMap(({ outputs }) => outputs.map(({ shape }) => sizeOf(shape))));
    };
    expect(largest([loss(inputs)])).toBe(n * chunkSize);
    expect(largest(grad(loss)(inputs))).toBe(n * chunkSize);
    expect(largest([loss(inputs), ...grad(loss)(inputs)])).toBe(n * chunkSize);
  });
  it('has the logits once where the head is frozen, and where they are one chunk', () => {
    const [hidden, head] = [zeros([6, 4]), zeros([20, 4])];
    const products = (chunkSize: number, isFrozen: boolean) => {
      const f = (p: Tensor[]) => tokenLogProbs(p[0]!, p[1] ?? head, zeros([6], 'int32'), { chunkSize }).logProbs.sum();
      const { value, gradient } = valueAndGrad(f)(isFrozen ? [hidden] : [hidden, head]);
      const { graph } = captureLeaves(
        [value, ...gradient].map((x) => x.value),
        [],
      );
      return simplify(graph, { kernels: new Set() }).nodes.filter(({ op }) => op === 'matmul').length;
    };
    // Two chunks: logits and the expected head forward, nothing backward.
    expect(products(10, true)).toBe(4);
    // Logits forward and backward, and both gradients.
    expect(products(10, false)).toBe(8);
    expect(products(20, false)).toBe(3);
  });
});

describe('crossEntropy', () => {
  it('refuses options it does not know', () => {
    expect(() => crossEntropy(zeros([1, 2]), zeros([3, 2]), zeros([1], 'int32'), { smoothing: 1 } as never)).toThrow(
      /smoothing/,
    );
  });
});
