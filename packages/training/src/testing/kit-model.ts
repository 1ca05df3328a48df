import { Key, type Tensor, tensor } from '@posttrain/core-tensor';
import { CausalLM, parseModelConfig, SequenceClassifier, TokenClassifier, Tokenizer, ValueModel } from '@posttrain/lm';
import { type Annotation, annotationSpec } from '../loss/annotation.js';
import type { LossDescription } from '../loss/loss.js';
import type { RowBatch, TrainingRow } from '../loss/rows.js';
import type { TrainableModel } from '../trainer/trainable-model.js';

/** What the kit's model ends in: an output layer over the vocabulary, or a head. */
export type KitHead = 'vocabulary' | 'sequence' | 'token' | 'value';

/** Tokens of the kit's model. */
export const VOCABULARY = 40;

/** Works on token ids only. */
const tokenizer = new Tokenizer({
  tokenizer: { version: '1.0', added_tokens: [], model: { type: 'BPE', vocab: { a: 0, b: 1 }, merges: [] } },
});

/** A model of two blocks of width 16 and 40 tokens, with random weights that are the same every time. `labels` of a head for sequences or tokens. */
export async function kitModel(head: KitHead, labels: number): Promise<TrainableModel> {
  const config = parseModelConfig({
    ...{ model_type: 'llama', vocab_size: VOCABULARY, hidden_size: 16, intermediate_size: 24, num_hidden_layers: 2 },
    ...{ num_attention_heads: 2, max_position_embeddings: 64, tie_word_embeddings: false, initializer_range: 0.3 },
  });
  const model = await CausalLM.initialize({ config, tokenizer, name: `kit (${head})` }, 3);
  if (head === 'sequence') return SequenceClassifier.fromCausalLM(model, { labels, seed: 4 });
  if (head === 'token') return TokenClassifier.fromCausalLM(model, { labels, seed: 4 });
  return head === 'value' ? ValueModel.fromCausalLM(model, { seed: 4 }) : model;
}

/** Uniform numbers from 0 to 1, the same for a seed. */
export function drawing(seed: number): () => number {
  const numbers = Key.fromSeed(seed).uniformHost(1 << 15);
  let at = 0;
  return () => numbers[at++]!;
}

/** How the numbers of annotations are drawn, by name. */
export type AnnotationDraws = Readonly<Record<string, (draw: () => number) => number>>;

/** Lengths of rows, of which one makes the others be padded. */
const LENGTHS = [4, 9, 5, 20, 3, 7, 6, 8];
/** Of groups of any size. */
const SIZES = [1, 3, 2, 2];

/** Groups of rows with weights and with numbers for every annotation, as a loss declares them. */
export function kitRows(
  { groupSize = 1, annotations, wholeRow = false }: LossDescription & { readonly wholeRow?: boolean },
  draws: AnnotationDraws,
): TrainingRow[][] {
  const draw = drawing(11);
  let next = 0;
  const row = (group: number): TrainingRow => {
    const length = LENGTHS[next++ % LENGTHS.length]!;
    const tokens = Array.from({ length }, () => Math.floor(draw() * VOCABULARY));
    // Of a whole row the end is read; of others, some predictions are left out.
    const weights = tokens.slice(1).map((_, t) => {
      if (wholeRow) return t === length - 2 ? 0.25 : 0;
      return t > 0 && draw() < 0.2 ? 0 : (0.2 + draw()) / 20;
    });
    const numbers = Object.fromEntries(annotations.map((one) => valuesOf(one, length - 1, draws, draw)));
    return { tokens, weights, annotations: numbers, ...(groupSize === 'any' && { group }) };
  };
  return SIZES.map((size, group) => Array.from({ length: groupSize === 'any' ? size : groupSize }, () => row(group)));
}

function valuesOf(annotation: Annotation, predictions: number, draws: AnnotationDraws, draw: () => number) {
  const { name, per, width = 1, dtype } = annotationSpec(annotation);
  const usual = dtype === 'int32' ? () => Math.floor(draw() * 2) : () => 2 * draw() - 1;
  const count = (per === 'row' ? 1 : predictions) * width;
  return [name, Array.from({ length: count }, () => draws[name]?.(draw) ?? usual())] as const;
}

/** A batch with more padding: rows and columns of tokens that mean nothing, and zeros everywhere else. */
export function paddedFurther(batch: RowBatch, rows: number, columns: number): RowBatch {
  const [, tokens] = batch.tokens.shape as [number, number];
  const wider = (x: Tensor, value = 0) => {
    // What belongs to a whole row has no axis of tokens or predictions.
    const axis = x.shape[1] === tokens || x.shape[1] === tokens - 1 ? x.pad(1, 0, columns, value) : x;
    return axis.pad(0, 0, rows, value);
  };
  const { groups, annotations } = batch;
  return {
    tokens: wider(batch.tokens, 7),
    positions: wider(batch.positions),
    segments: wider(batch.segments),
    weights: wider(batch.weights),
    annotations: Object.fromEntries(Object.entries(annotations).map(([name, x]) => [name, wider(x)])),
    ...(groups && { groups: groups.pad(0, 0, rows) }),
  };
}

/** A direction in the space of weights, the same for a seed. */
export function directionOf(weights: Readonly<Record<string, Tensor>>): Readonly<Record<string, Tensor>> {
  const draw = drawing(13);
  return Object.fromEntries(
    Object.entries(weights).map(([name, { shape, size }]) => {
      return [
        name,
        tensor(
          Float32Array.from({ length: size }, () => (draw() - 0.5) / 4),
          shape,
        ),
      ] as const;
    }),
  );
}
