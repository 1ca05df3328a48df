import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CausalLM, ChatTemplate, parseModelConfig, Tokenizer } from '@posttrain/lm';
import { cached, trainOn } from '../formats/model.js';
import { sumRows } from './sums.js';

/** Width and layers of a model; heads have 24 dimensions, and two of them share keys and values. */
export interface Size {
  readonly width: number;
  readonly layers: number;
}

export interface TrainingSettings {
  /** Updates, of `tokensPerStep` tokens each. */
  readonly steps: number;
  readonly tokensPerStep: number;
  readonly learningRate: number;
}

const HEAD = 24;
const tiny = join(import.meta.dirname, '..', '..', 'pretrain-tiny');

/** Tokens that ../../pretrain-tiny was trained on: 2000 updates of 32 rows of 128 tokens. */
const TINY_TOKENS = 2000 * 32 * 128;

/** A model that was trained here, and on how many tokens. */
export interface TrainedModel {
  readonly model: CausalLM;
  readonly tokens: number;
}

/** A model of this size, trained from nothing on rows of the task, or as it is in the folder. */
export async function smallerModel(
  { width, layers }: Size,
  training: TrainingSettings,
  folder: string,
  onStep?: (step: number, loss: number) => void,
): Promise<TrainedModel> {
  const { steps, tokensPerStep } = training;
  const model = await cached(join(folder, `sums-${width}x${layers}-${steps}`), async () => {
    const config = {
      ...JSON.parse(readFileSync(join(tiny, 'config.json'), 'utf8')),
      ...{ hidden_size: width, num_hidden_layers: layers, intermediate_size: 3 * width },
      ...{ num_attention_heads: width / HEAD, num_key_value_heads: width / HEAD / 2, head_dim: HEAD },
    };
    const tokenizer = await Tokenizer.load(join(tiny, 'tokenizer'));
    const chatTemplate = await ChatTemplate.load(tokenizer);
    const name = `sums-${width}x${layers}`;
    const first = await CausalLM.initialize({ config: parseModelConfig(config), tokenizer, chatTemplate, name }, 0);
    // A row has nine tokens at least, so that none is seen twice.
    const rows = sumRows(Math.ceil((steps * tokensPerStep) / 9), 1);
    return trainOn(first, rows, { ...{ ...training, seed: 0 }, ...(onStep && { onStep }) });
  });
  return { model, tokens: steps * tokensPerStep };
}

/** The model of ../../pretrain-tiny, whose corpus has the same authors' sums and differences among other documents. */
export const largerModel = async (): Promise<TrainedModel> => ({
  ...{ model: await CausalLM.load(join(tiny, 'model')), tokens: TINY_TOKENS },
});
