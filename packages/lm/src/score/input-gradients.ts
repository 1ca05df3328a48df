import { type Compiled, compile, grad, iota, type Tensor, tensor, zeros } from '@posttrain/core-tensor';
import {
  type ChangeableSequence,
  type Given,
  type InputGradients,
  options,
  PosttrainError,
} from '@posttrain/interfaces';
import { type Adapter, contextOf, NO_ADAPTER, perAdapter } from '../model/adapter.js';
import { askedAdapterOption } from '../model/adapter-option.js';
import type { LayerHooks, Weights } from '../model/layers.js';
import type { Network, RunnableModel } from '../model/network.js';
import { roundUpToSize } from '../model/sizes.js';
import { checkNumbers } from '../runner/non-finite.js';
import { continuationLogProbs } from './continuation-log-probs.js';
import { checkSequences, gridOf, passInput } from './passes.js';
import { logProbsOf } from './prediction-log-probs.js';

const inputGradientsOptions = options('inputGradients', {
  /** Asked before every call. Default: none. */
  adapter: askedAdapterOption,
});
/** Options of `inputGradients`. */
export type InputGradientsOptions = Given<typeof inputGradientsOptions>;

const LENGTH_STEP = 16;

type Gradient = Compiled<
  [
    weights: Weights,
    parameters: unknown,
    /** int32 [1, s]. */
    tokens: Tensor,
    targets: Tensor,
    /** float32 [1, s]: 1 / target tokens where one is predicted, else 0. */
    share: Tensor,
    /** int32 [n]: the places that are asked about. */
    places: Tensor,
  ],
  Tensor
>;

const gradientOf = perAdapter(
  (network, adapter): Gradient =>
    compile(
      (weights, parameters, tokens, targets, share, places) => {
        const hooks = adapter.hooks(parameters);
        const seen: { table?: Tensor } = {};
        const loss = (delta: Tensor) => {
          const moved = withDelta(network, hooks, delta, seen);
          const hidden = network.hidden(weights, passInput(tokens), moved);
          return logProbsOf(network, weights, hidden, targets, { hooks: moved }).logProbs.mul(share).sum().neg();
        };
        const slope = grad(loss)(zeros([...tokens.shape, network.config.hiddenSize])) as Tensor;
        // An embedding is its one-hot vector times the table: so is the gradient, the other way round.
        const rows = slope.reshape([tokens.size, -1]).gather(places, 0);
        return rows.matmul(seen.table!.cast(rows.dtype), { transposeB: true }).cast('float32');
      },
      { name: 'inputGradient' },
    ),
);

/** Hooks whose token embeddings have `delta` added to them, and which keep the table that they were looked up in. */
function withDelta(network: Network, hooks: LayerHooks, delta: Tensor, seen: { table?: Tensor }): LayerHooks {
  // GPT-2 has several tables, the first of which is that of the tokens.
  const first = [...network.modules.values()].find(({ kind }) => kind === 'embedding')!.name;
  return {
    ...hooks,
    embedding(tokens, layer) {
      const look = (ids: Tensor) => (hooks.embedding ? hooks.embedding(ids, layer) : layer.apply(ids));
      if (layer.name !== first) return look(tokens);
      seen.table = hooks.embedding ? look(iota([network.config.vocabSize], 0)) : layer.weight;
      const embedded = look(tokens);
      return embedded.add(delta.cast(embedded.dtype));
    },
  };
}

/**
 * What attacks by gradients ask of a model (`gcg` of `@posttrain/eval`): the loss of a target after other tokens, and its gradient with respect to their one-hot vectors,
 * ∂L/∂(embedding) · tableᵀ. A prefix that sequences have in common is computed once in `losses`. The gradient is one backward pass.
 *
 * @throws PosttrainError `INPUT_GRADIENTS` for places that are out of order, and for an adapter whose hooks read row inputs, an earlier pass or virtual tokens; `SEQUENCE_LENGTH`
 */
export function inputGradients(
  { network, weights, name = 'local model' }: RunnableModel & { readonly name?: string },
  given: InputGradientsOptions = {},
): InputGradients {
  const { adapter: current } = inputGradientsOptions.read(given);
  const { vocabSize } = network.config;
  const adapterNow = (): Adapter => {
    const adapter = current?.() ?? NO_ADAPTER;
    if (adapter.rowInputs || adapter.earlierPass || adapter.virtualTokens) {
      throw refusal(`the adapter "${adapter.name}" reads more than tokens, of which there is no gradient here`);
    }
    return adapter;
  };
  return {
    name,
    vocabSize,
    async losses(sequences) {
      const adapter = adapterNow();
      sequences.forEach(assertPlaces);
      const asked = sequences.map(({ tokens, targetFrom }) => ({ tokens: [...tokens], start: targetFrom }));
      const scored = await continuationLogProbs({ network, weights }, asked, { adapter });
      return scored.map(({ logProbs, isGreedy }) => ({
        loss: -logProbs.reduce((sum, x) => sum + x, 0) / logProbs.length,
        isGreedy: isGreedy.every((flag) => flag === 1),
      }));
    },
    async inputGradient(sequence) {
      const adapter = adapterNow();
      const { tokens, from, to, targetFrom } = sequence;
      assertPlaces(sequence, 0);
      const longest = contextOf(network.config, adapter);
      checkSequences('inputGradient', [tokens], { shortest: 2, longest: longest + 1, vocabSize });
      const width = Math.min(longest, roundUpToSize(tokens.length - 1, LENGTH_STEP));
      const share = new Float32Array(width).fill(1 / (tokens.length - targetFrom), targetFrom - 1, tokens.length - 1);
      const places = Int32Array.from({ length: to - from }, (_, i) => from + i);
      const result = await gradientOf(network, adapter)(
        weights,
        adapter.parameters,
        gridOf([tokens.slice(0, -1)], 1, width),
        gridOf([tokens.slice(1)], 1, width),
        tensor(share, [1, width]),
        tensor(places, [places.length], 'int32'),
      );
      const values = (await result.data()) as Float32Array;
      const rows = Array.from(places, (_, i) => Float32Array.from(values.subarray(i * vocabSize, (i + 1) * vocabSize)));
      await checkNumbers('inputGradient', rows, { weights, adapter });
      return rows;
    },
  };
}

function assertPlaces({ tokens, from, to, targetFrom }: ChangeableSequence, i: number): void {
  const inOrder = 0 <= from && from < to && to <= targetFrom && targetFrom < tokens.length;
  if (inOrder && [from, to, targetFrom].every(Number.isSafeInteger) && targetFrom > 0) return;
  throw refusal(
    `sequence ${i}: changeable from ${from} to ${to}, target from ${targetFrom}, of ${tokens.length} tokens; 0 ≤ from < to ≤ targetFrom < tokens must hold`,
  );
}

const refusal = (problem: string) => new PosttrainError('INPUT_GRADIENTS', `inputGradients: ${problem}`);
