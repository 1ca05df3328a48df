import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { compile, type Engine, referenceEngine, scalar, setEngine, type Tensor, tensor } from '../src/index.js';
import { onnxruntimeEngine } from '../src/onnxruntime.js';
import {
  adafactor,
  adam,
  galoreMatrices,
  lion,
  type MuonAdjustment,
  mapNamed,
  muonMatrices,
  type Named,
  type Optimizer,
} from '../src/optim/index.js';
import { expectClose } from '../src/testing/check-case.js';
import { type Arrays, arrays, json } from './optim-helpers.js';

interface Options {
  readonly weight_decay?: number;
  readonly scale_parameter?: boolean;
  readonly nesterov?: boolean;
  readonly adjust?: MuonAdjustment;
  readonly ns_steps?: number;
  readonly rank?: number;
  readonly scale?: number;
  readonly update_proj_gap?: number;
}

const facts = json('matrices') as {
  readonly steps: number;
  readonly learning_rate: number;
  readonly cases: Readonly<Record<string, Options>>;
};

function optimizerOf(kind: string, options: Options): Optimizer<object> {
  const { weight_decay: weightDecay = 0, scale_parameter: scaleParameter = false } = options;
  const decays = () => true;
  if (kind === 'adam') return adam({ weightDecay, decays });
  if (kind === 'lion') return lion({ weightDecay, decays });
  if (kind.startsWith('adafactor')) return adafactor({ weightDecay, scaleParameter, decays });
  if (kind.startsWith('galore')) {
    const { rank, scale, update_proj_gap: updateInterval } = options as Required<Options>;
    return galoreMatrices({ rank, scale, updateInterval, weightDecay: 0.1 });
  }
  const { nesterov = true, adjust: adjustment = 'original', ns_steps: steps = 5 } = options;
  return muonMatrices({ nesterov, adjustment, steps });
}

/** |ours - golden|, relative to 1: torch's Muon computes in bfloat16, whose steps are 2⁻⁸. */
const TOLERANCES: Readonly<Record<string, number>> = { 'muon-bfloat16': 5e-3 };

const engines: readonly (readonly [string, Engine])[] = [
  ['reference', referenceEngine()],
  ['onnxruntime', onnxruntimeEngine()],
];

describe.each(engines)('trajectories on %s', (_, engine) => {
  let inputs: Arrays;
  beforeAll(async () => {
    inputs = await arrays('matrices-inputs');
  });
  beforeEach(() => setEngine(engine));

  it.each(Object.entries(facts.cases))('%s, 12 steps', async (kind, options) => {
    const expected = await arrays(`matrices-${kind}`);
    const names = Object.keys(expected).map((key) => key.slice('after.'.length));
    const optimizer = optimizerOf(kind, options);
    let parameters: Named = Object.fromEntries(
      names.map((name) => [name, tensor(inputs[`initial.${name}`]!.data.slice(), inputs[`initial.${name}`]!.shape)]),
    );
    let state = optimizer.init(parameters);
    const step = compile(
      (trained: { parameters: Named; state: object }, gradients: Named, rate: Tensor) => ({
        trained: optimizer.update(trained.parameters, gradients, trained.state, rate),
      }),
      { donate: { 0: 'trained' } },
    );
    for (let t = 0; t < facts.steps; t++) {
      const gradients = mapNamed(parameters, (p, name) =>
        tensor(inputs[`gradient.${name}`]!.data.slice(t * p.size, (t + 1) * p.size), p.shape),
      );
      state = (await optimizer.refresh?.(gradients, state, t)) ?? state;
      ({ parameters, state } = (await step({ parameters, state }, gradients, scalar(facts.learning_rate))).trained);
      for (const [name, p] of Object.entries(parameters)) {
        const after = expected[`after.${name}`]!.data.slice(t * p.size, (t + 1) * p.size);
        expectClose(`${name} after step ${t}`, await p.toArray(), after, TOLERANCES[kind] ?? 5e-6);
      }
    }
    expect(step.traces).toBe(1);
  });
});
