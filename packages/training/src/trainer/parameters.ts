import { type Tensor, tensor } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { PosttrainError } from '@posttrain/interfaces';
import type { TrainableModel } from './trainable-model.js';

/** A deep copy. The reference engine gives float64. */
export async function copiesOf(named: Named): Promise<Named> {
  const copies = Object.entries(named).map(async ([name, x]) => {
    return [name, tensor(Float32Array.from(await x.data()), x.shape)] as const;
  });
  return Object.fromEntries(await Promise.all(copies));
}

/** The first name of `wanted` under which there is no tensor of the same shape. */
export function firstUnlike(wanted: Named, given: Named): string | undefined {
  const shapeOf = (x: Tensor | undefined) => String(x?.shape);
  return Object.entries(wanted).find(([name, x]) => shapeOf(given[name]) !== shapeOf(x))?.[0];
}

/** Refuses tensors that cannot be trained as they are. @throws PosttrainError TRAINED_DTYPE */
export function assertTrainable(model: Pick<TrainableModel, 'config'>, adapter: unknown, parameters: Named): void {
  for (const [name, { dtype }] of Object.entries(parameters)) {
    if (dtype === 'float32') continue;
    throw new PosttrainError('TRAINED_DTYPE', `${name} is ${dtype}; ${trainable(model, adapter)}`);
  }
}

/** How the weights of such a model are trained. */
function trainable({ config }: Pick<TrainableModel, 'config'>, adapter: unknown): string {
  if (adapter !== undefined || !config.quantization) return 'train it as float32';
  return (
    `the model is quantised (${config.quantization.method}), and codes cannot be trained. Train an adapter beside it ` +
    '(QLoRA: adapter: await createAdapter(model, lora) of @posttrain/peft), or await model.dequantize().'
  );
}
