import { softCap, type Tensor, tensor } from '@posttrain/core-tensor';
import { options as declare, type Given, text } from '@posttrain/interfaces';
import { perAdapter } from '../model/adapter.js';
import type { CausalLM } from '../model/causal-lm.js';
import { passInput } from '../score/passes.js';
import { compileHeadPass, runHead } from './head-model.js';
import { sigmoid } from './reward-verifier.js';
import { StepError, StepVerifier, stepVerifierShape } from './step-verifier.js';

const stepTagOptions = declare('stepTagVerifier', {
  ...stepVerifierShape,
  /** The token that a good step is followed by, as text. Default `+`. */
  good: text({ default: '+' }),
  /** The token that a bad step is followed by, as text. Default `-`. */
  bad: text({ default: '-' }),
});
/** Options of `stepTagVerifier`: which tag ends a step, and which tokens rate it. */
export type StepTagVerifierOptions = Given<typeof stepTagOptions>;

/**
 * A causal language model that was trained to say after each step's tag whether the step is good, as a `Verifier`
 * (Math-Shepherd, arXiv 2312.08935): the score of a step is p(good) / (p(good) + p(bad)) for the token that follows the
 * tag.
 *
 * @throws StepError when `good` or `bad` is not one token
 */
export function stepTagVerifier(model: CausalLM, options: StepTagVerifierOptions): StepVerifier {
  const { good, bad, ...rest } = stepTagOptions.read(options);
  const candidates = [good, bad].map((text) => {
    const tokens = model.tokenizer.encode(text, { addSpecialTokens: false });
    if (tokens.length === 1) return tokens[0]!;
    throw new StepError(`${model.name}: ${JSON.stringify(text)} is ${tokens.length} tokens where one is needed`);
  });
  const passOf = perAdapter((network, adapter) =>
    compileHeadPass('stepTag', adapter, (weights, hooks, tokens) => {
      const hidden = network.hidden(weights, passInput(tokens), hooks);
      const { states, matrix } = network.outputLayer(weights, hidden, hooks);
      const head = matrix.gather(tensor(Int32Array.from(candidates), [2], 'int32'), 0);
      const logits = states.matmul(head.expandDims(0), { transposeB: true });
      const cap = network.logitSoftCap;
      return difference(cap === undefined ? logits : softCap(logits, cap));
    }),
  );
  return new StepVerifier(
    model,
    async (sequences, adapter) => {
      const scores = new Array<readonly number[]>(sequences.length);
      await runHead('stepTagVerifier', model, sequences, adapter ? { adapter } : {}, passOf, (output, pass) => {
        pass.sequences.forEach((sequence, row) => {
          scores[sequence] = sequences[sequence]!.map((_, t) => sigmoid(output[row * pass.width + t]!));
        });
      });
      return scores;
    },
    rest,
  );
}

/** [b, s, 2] → the first less the second, [b, s]: the log-odds of the one against the other. */
const difference = (logits: Tensor): Tensor =>
  logits
    .slice(2, 0, 1)
    .sub(logits.slice(2, 1, 2))
    .squeeze(2);
