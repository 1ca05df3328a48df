import { type Compiled, compile, type Tensor } from '@posttrain/core-tensor';
import { assertKnownOptions } from '@posttrain/interfaces';
import { type Adapter, contextOf, NO_ADAPTER, perAdapter, type RowInputs, rowInputsOf } from '../model/adapter.js';
import type { PassInfo, Weights } from '../model/layers.js';
import type { RunnableModel } from '../model/network.js';
import { checkNumbers } from '../runner/non-finite.js';
import { checkSequences, MAX_TOKENS_PER_PASS, passesOf, passInput } from './passes.js';

/** Options of `hiddenStates`. */
export interface HiddenStatesOptions {
  readonly adapter?: Adapter;
  /** What the adapter reads of each sequence, beside what it finds in the tokens. Default: nothing. */
  readonly adapterInputs?: readonly RowInputs[];
  /** Most tokens, padding included, that one pass holds; a longer sequence has a pass of its own. Default 4096. */
  readonly maxTokensPerPass?: number;
}

type Hidden = Compiled<
  [weights: Weights, parameters: unknown, tokens: Tensor, rowInputs: PassInfo['inputs'] | undefined],
  Tensor
>;

const hiddenOf = perAdapter(
  (network, adapter): Hidden =>
    compile(
      (weights, parameters, tokens, rowInputs) =>
        network.hidden(weights, passInput(tokens, rowInputs), adapter.hooks(parameters)),
      { name: 'hiddenStates' },
    ),
);

/**
 * The final, normalised hidden states of token sequences (`last_hidden_state` of transformers): for each sequence a row
 * [width] per token. Any mix of lengths; the result does not depend on it.
 */
export async function hiddenStates(
  { network, weights }: RunnableModel,
  sequences: readonly (readonly number[])[],
  options: HiddenStatesOptions = {},
): Promise<Float32Array[][]> {
  assertKnownOptions('hiddenStates', options, ['adapter', 'adapterInputs', 'maxTokensPerPass']);
  const { adapter = NO_ADAPTER, adapterInputs = [], maxTokensPerPass = MAX_TOKENS_PER_PASS } = options;
  const { hiddenSize: size, vocabSize } = network.config;
  const longest = contextOf(network.config, adapter);
  checkSequences('hiddenStates', sequences, { shortest: 1, longest, vocabSize });
  const results = new Array<Float32Array[]>(sequences.length);
  const run = hiddenOf(network, adapter);
  for (const { sequences: rows, tokens, width } of passesOf(sequences, { longest, maxTokens: maxTokensPerPass })) {
    const [ofRows, given] = [rows.map((i) => sequences[i]!), rows.map((i) => adapterInputs[i] ?? {})];
    const rowInputs = rowInputsOf(adapter, ofRows, tokens.shape as [number, number], given);
    const states = await (await run(weights, adapter.parameters, tokens, rowInputs)).data();
    rows.forEach((sequence, row) => {
      results[sequence] = sequences[sequence]!.map((_, t) => {
        const from = (row * width + t) * size;
        return Float32Array.from(states.subarray(from, from + size));
      });
    });
    await checkNumbers(
      'hiddenStates',
      rows.flatMap((sequence) => results[sequence]!),
      { weights, adapter },
    );
  }
  return results;
}
