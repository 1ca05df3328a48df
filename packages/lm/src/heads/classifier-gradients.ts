import { custom, type Given, options, PosttrainError, type RowGradients } from '@posttrain/interfaces';
import type { Adapter } from '../model/adapter.js';
import { HeadError } from '../model/head.js';
import { promptTokens } from '../prompts/prompt-tokens.js';
import { hiddenStates } from '../score/hidden-states.js';
import { softmaxAt } from './reward-verifier.js';
import type { SequenceClassifier } from './sequence-classifier.js';

const gradientsOptions = options('classifierGradients', {
  /** Asked before every call. Default: none. */
  adapter: custom<() => Adapter>()('a function', (value) => typeof value === 'function', { optional: true }),
});
/** Options of `classifierGradients`. */
export type ClassifierGradientsOptions = Given<typeof gradientsOptions>;

/**
 * Gradients of a classifier's cross-entropy by its output layer in closed form, without a backward pass (BADGE, arXiv
 * 1906.03671, equation 1): (p − e_y) ⊗ h, [labels × width] as one vector, with h the final hidden state that the head
 * reads. A request's prompt is the text; its completion is the name of its label, or nothing where the gradient is of
 * the `hallucinated` label, which is the most probable one.
 *
 * @throws HeadError for a head that is not one linear layer over two labels or more, of which one is right;
 *   PosttrainError `ROW_GRADIENTS` for a label that there is not, and for what needs training: other parameters,
 *   `adam`, a projection
 */
export function classifierGradients(model: SequenceClassifier, given: ClassifierGradientsOptions = {}): RowGradients {
  const { adapter: current } = gradientsOptions.read(given);
  const { labels, head } = model;
  if (labels.length < 2 || head.hiddenLayer || head.problemType === 'multi_label_classification') {
    throw new HeadError(
      `classifierGradients: ${model.name} must have one linear layer over two labels or more, of which one is right`,
    );
  }
  return {
    name: `gradients of ${model.name}`,
    async gradients(requests, { of = 'loss', parameters, direction = 'sgd', projection, signal } = {}) {
      if (parameters !== 'output' || direction !== 'sgd' || projection !== undefined) {
        const asked = `parameters "${parameters ?? 'trained'}", direction "${direction}", projection ${projection ?? 'none'}`;
        throw refusal(
          `${asked}: only { parameters: "output" } has a closed form; rowGradients of a trainer has the rest`,
        );
      }
      signal?.throwIfAborted();
      const adapter = current ? { adapter: current() } : {};
      const sequences = requests.map(({ prompt }) => model.sequenceOf(promptTokens(model, prompt)));
      const states = await hiddenStates(model, sequences, adapter);
      const logits = await model.logits(sequences, adapter);
      signal?.throwIfAborted();
      return requests.map(({ completion }, i) => {
        const z = logits[i]!;
        const label = of === 'hallucinated' ? z.indexOf(Math.max(...z)) : labels.indexOf(completion);
        if (label < 0) throw refusal(`row ${i}: no label "${completion}"; there are ${labels.join(', ')}`);
        const hidden = states[i]!.at(-1)!;
        const vector = new Float32Array(labels.length * hidden.length);
        labels.forEach((_, k) => {
          const slope = softmaxAt(z, k) - (k === label ? 1 : 0);
          vector.set(
            hidden.map((h) => slope * h),
            k * hidden.length,
          );
        });
        return vector;
      });
    },
  };
}

const refusal = (problem: string) => new PosttrainError('ROW_GRADIENTS', `classifierGradients: ${problem}`);
