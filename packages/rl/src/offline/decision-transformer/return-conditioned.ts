import { compile, type Key, softmax, type Tensor, tensor } from '@posttrain/core-tensor';
import { type Given, integer, number, options } from '@posttrain/interfaces';
import type { Weights } from '@posttrain/lm';
import type { RowInput } from '@posttrain/training';
import type { NumericPolicy, Trajectory } from '../../rollout/play.js';
import type { DecisionTransformer } from './decision-transformer.js';
import { actionsOf } from './network.js';
import { type TimeSteps, toTokens } from './trajectories.js';

const returnConditionedOptions = options('returnConditioned', {
  /** The return that is asked for, in the environment's units. What was earned is taken off step by step. */
  targetReturn: number({}),
  /** Time steps that the model looks back on, itself included: K of the paper. Default 20. */
  contextLength: integer({ default: 20, min: 1 }),
  /** What returns were divided by in training. Default 1. */
  returnScale: number({ default: 1, above: 0 }),
  /** Of drawing among choices; 0 takes the likeliest. Default 0. */
  temperature: number({ default: 0, min: 0 }),
});
/** Options of `returnConditioned`. */
export type ReturnConditionedOptions = Given<typeof returnConditionedOptions>;

interface Batch {
  readonly tokens: Tensor;
  readonly positions: Tensor;
  readonly segments: Tensor;
  readonly inputs: Readonly<Record<string, Tensor>>;
}

/**
 * A Decision Transformer that is asked for a return, as a policy (arXiv 2106.01345, algorithm 1). @throws OptionError
 */
export function returnConditioned(model: DecisionTransformer, given: ReturnConditionedOptions): NumericPolicy {
  const { targetReturn, contextLength, returnScale, temperature } = returnConditionedOptions.read(given);
  const { config, network } = model;
  const run = compile(
    (weights: Weights, batch: Batch, last: Tensor): Tensor => {
      const hidden = network.hidden(weights, batch);
      const [b, , width] = hidden.shape as [number, number, number];
      const at = last.reshape([b, 1, 1]).broadcastTo([b, 1, width]);
      const out = actionsOf(config, weights, hidden.takeAlongAxis(at, 1).squeeze(1));
      return config.discrete && temperature > 0 ? softmax(out.mul(1 / temperature)) : out;
    },
    { name: 'returnConditioned', engine: network.engine },
  );

  /** Rows in a pass: as many as there ever were, so that episodes that end trace no other graph. */
  let capacity = 1;

  /** The last time steps of an episode, with what is still to be earned of the target. */
  function lookedAt({ observations, actions, rewards }: Trajectory): TimeSteps {
    const from = Math.max(0, observations.length - contextLength);
    let left = targetReturn;
    const returns = observations.map((_, t) => {
      if (t > 0) left -= rewards[t - 1]!;
      return left / returnScale;
    });
    const part = <T>(of: readonly T[]) => of.slice(from);
    return { from, observations: part(observations), actions: part(actions), returns: part(returns) };
  }

  return {
    name: `${model.name}(${targetReturn})`,
    async act(episodes: readonly Trajectory[], keys: readonly Key[]) {
      const rows = episodes.map((episode) => toTokens(config, lookedAt(episode)));
      capacity = Math.max(capacity, 2 ** Math.ceil(Math.log2(rows.length)));
      const output = await run(model.weights, ...collate(rows, capacity, 3 * contextLength));
      const numbers = await output.data();
      const { actionSize, discrete } = config;
      return rows.map((_, i) => {
        const own = Array.from(numbers.subarray(i * actionSize, (i + 1) * actionSize), Number);
        if (!discrete) return own;
        return temperature > 0 ? drawn(own, keys[i]!) : own.indexOf(Math.max(...own));
      });
    },
  };
}

function drawn(probabilities: readonly number[], key: Key): number {
  let left = key.uniformHost(1)[0]!;
  const found = probabilities.findIndex((p) => {
    left -= p;
    return left < 0;
  });
  // What rounding leaves belongs to the likeliest.
  return found < 0 ? probabilities.indexOf(Math.max(...probabilities)) : found;
}

interface Row {
  readonly tokens: readonly number[];
  readonly inputs: Readonly<Record<string, RowInput>>;
}

/** Rows of one length as one grid of b rows of s tokens, and the place of their last state. */
function collate(rows: readonly Row[], b: number, s: number): [batch: Batch, last: Tensor] {
  const used = rows[0]!.tokens.length;
  const grid = (width: number, of: (row: Row) => ArrayLike<number>, dtype: 'float32' | 'int32') => {
    const data = dtype === 'int32' ? new Int32Array(b * s * width) : new Float32Array(b * s * width);
    rows.forEach((row, i) => {
      data.set(of(row), i * s * width);
    });
    return data;
  };
  const perToken = (of: (row: Row) => ArrayLike<number>) => tensor(grid(1, of, 'int32'), [b, s], 'int32');
  const inputs = Object.entries(rows[0]!.inputs).map(([name, { width, dtype = 'float32' }]) => {
    return [
      name,
      tensor(
        grid(width, ({ inputs: own }) => own[name]!.data, dtype),
        [b, s, width],
        dtype,
      ),
    ] as const;
  });
  return [
    {
      tokens: perToken(({ tokens }) => tokens),
      positions: perToken(({ tokens }) => tokens.map((_, t) => t)),
      segments: perToken(({ tokens }) => tokens.map(() => 1)),
      inputs: Object.fromEntries(inputs),
    },
    tensor(new Int32Array(b).fill(used - 2), [b], 'int32'),
  ];
}
