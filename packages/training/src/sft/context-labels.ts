import { type Tensor, tensor } from '@posttrain/core-tensor';
import { PosttrainError } from '@posttrain/interfaces';
import { logProbsOf } from '@posttrain/lm';
import type { Loss, Readout } from '../loss/loss.js';
import { type AnyLoss, asLoss } from '../trainer/lift-token-loss.js';
import type { ContextLabels } from '../trainer/trainable-adapter.js';

/** How many predictions of a context are counted, each as one of a row: those with a weight. */
export const countLabels = (labels: ContextLabels | undefined): number =>
  labels?.weights.filter((weight) => weight !== 0).length ?? 0;

/**
 * The loss of rows and of the labels inside the context that an adapter puts before each of them (CPT, arXiv 2410.17222), as PEFT has it: every
 * sequence counts the labels of its context as predictions of its own, Σ_b w_b Σ_i c_i · (-log p(y_i | context before i)), where w_b is
 * what a prediction of the row counts and c_i the weight of a label. The context sees no row, so it is computed once for all of them.
 * The metric `context_loss` is what it adds.
 *
 * @throws PosttrainError CONTEXT_LABELS for a model that computes no virtual tokens alone
 */
export function withContextLabels(given: AnyLoss, labels: ContextLabels): Loss {
  const loss = asLoss(given);
  const readout = contextLoss(labels);
  return {
    ...loss,
    name: `${loss.name} and labels of the context`,
    computeFrom(read, inputs) {
      const own = loss.computeFrom(read, inputs);
      const sequences = inputs.segments.max(1).cast('float32');
      const added = inputs.weights.max(1).mul(sequences).sum().mul(read(readout));
      return { loss: own.loss.add(added), metrics: { ...own.metrics, context_loss: added } };
    },
  };
}

/** Σ_i c_i · (-log p(y_i | context before i)), a scalar: the same for every row. */
function contextLoss({ tokens, weights }: ContextLabels): Readout<Tensor> {
  const counted = tensor(Float32Array.from(weights.slice(1)), [1, weights.length - 1]);
  const targets = tensor(Int32Array.from(tokens.slice(1)), [1, tokens.length - 1], 'int32');
  return {
    name: 'contextLoss',
    per: 'row',
    compute({ network, weights: all, hooks }) {
      const { virtualTokens } = hooks;
      if (!virtualTokens || !network.virtualStates) {
        const problem = 'there are no virtual tokens, or the model computes them with rows only';
        throw new PosttrainError('CONTEXT_LABELS', `the adapter has labels inside a context, but ${problem}`);
      }
      const states = network.virtualStates(all, { ...hooks, virtualTokens });
      const { logProbs } = logProbsOf(network, all, states.slice(1, 0, targets.shape[1]!), targets, { hooks });
      return logProbs.neg().mul(counted).sum();
    },
  };
}
