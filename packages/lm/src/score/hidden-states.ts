import { type Compiled, compile, type Tensor, type TypedArray } from '@posttrain/core-tensor';
import { type Given, options } from '@posttrain/interfaces';
import { contextOf, NO_ADAPTER, perAdapter, rowInputsOf } from '../model/adapter.js';
import { adapterInputsOption, adapterOption } from '../model/adapter-option.js';
import type { KvCache } from '../model/kv-cache.js';
import type { PassInfo, Weights } from '../model/layers.js';
import type { RunnableModel } from '../model/network.js';
import { checkNumbers } from '../runner/non-finite.js';
import { BLOCK_SIZE } from '../runner/paged-steps.js';
import { goesInPieces, inPieces, type PieceInput, prefillChunk } from './in-pieces.js';
import { checkSequences, maxTokensPerPass, passesOf, passInput } from './passes.js';

const hiddenStatesOptions = options('hiddenStates', {
  adapter: adapterOption,
  /** What the adapter reads of each sequence, beside what it finds in the tokens. Default: nothing. */
  adapterInputs: adapterInputsOption,
  /** Most tokens, padding included, that one pass holds; a longer sequence is computed in pieces. Default 4096. */
  maxTokensPerPass,
  prefillChunk,
});
/** Options of `hiddenStates`. */
export type HiddenStatesOptions = Given<typeof hiddenStatesOptions>;

interface HiddenSteps {
  readonly whole: Compiled<
    [weights: Weights, parameters: unknown, tokens: Tensor, rowInputs: PassInfo['inputs'] | undefined],
    Tensor
  >;
  readonly piece: Compiled<
    [weights: Weights, parameters: unknown, cache: KvCache, input: PieceInput],
    { readonly hidden: Tensor; readonly cache: KvCache }
  >;
}

const hiddenOf = perAdapter(
  (network, adapter): HiddenSteps => ({
    whole: compile(
      (weights, parameters, tokens, rowInputs) =>
        network.hidden(weights, passInput(tokens, rowInputs), adapter.hooks(parameters)),
      { name: 'hiddenStates' },
    ),
    piece: compile(
      (weights, parameters, cache, input) => {
        const paged = { ...input, cache, blockSize: BLOCK_SIZE };
        const pass = network.extendPaged(weights, paged, adapter.hooks(parameters));
        return { hidden: pass.hidden, cache: pass.cache };
      },
      { name: 'hiddenStatesOfPiece', donate: { 2: 'cache' } },
    ),
  }),
);

/**
 * The final, normalised hidden states of token sequences (`last_hidden_state` of transformers): for each sequence a row
 * [width] per token. Any mix of lengths; the result does not depend on it.
 */
export async function hiddenStates(
  { network, weights }: RunnableModel,
  sequences: readonly (readonly number[])[],
  given: HiddenStatesOptions = {},
): Promise<Float32Array[][]> {
  const { adapter = NO_ADAPTER, adapterInputs = [], ...settings } = hiddenStatesOptions.read(given);
  const { hiddenSize: size, vocabSize } = network.config;
  const longest = contextOf(network.config, adapter);
  checkSequences('hiddenStates', sequences, { shortest: 1, longest, vocabSize });
  const results = new Array<Float32Array[]>(sequences.length);
  const run = hiddenOf(network, adapter);
  const rowsOf = (states: TypedArray, from: number, count: number) =>
    Array.from({ length: count }, (_, t) =>
      Float32Array.from(states.subarray((from + t) * size, (from + t + 1) * size)),
    );
  const isLong = ({ length }: readonly number[]) => goesInPieces(length, settings, adapter);
  const passes = passesOf(sequences, { longest, maxTokens: settings.maxTokensPerPass, leavesOut: isLong });
  for (const { sequences: rows, tokens, width } of passes) {
    const [ofRows, inputsOf] = [rows.map((i) => sequences[i]!), rows.map((i) => adapterInputs[i] ?? {})];
    const rowInputs = rowInputsOf(adapter, ofRows, tokens.shape as [number, number], inputsOf);
    const states = await (await run.whole(weights, adapter.parameters, tokens, rowInputs)).data();
    rows.forEach((sequence, row) => {
      results[sequence] = rowsOf(states, row * width, sequences[sequence]!.length);
    });
    await checkNumbers(
      'hiddenStates',
      rows.flatMap((sequence) => results[sequence]!),
      { weights, adapter },
    );
  }
  for (const [sequence, own] of sequences.entries()) {
    if (!isLong(own)) continue;
    const states: Float32Array[] = [];
    await inPieces(network, own, settings.prefillChunk, async (before, input, from, to) => {
      const { hidden, cache } = await run.piece(weights, adapter.parameters, before, input);
      states.push(...rowsOf(await hidden.data(), 0, to - from));
      return cache;
    });
    results[sequence] = states;
    await checkNumbers('hiddenStates', states, { weights, adapter });
  }
  return results;
}
