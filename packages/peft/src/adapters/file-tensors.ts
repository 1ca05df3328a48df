import type { DType, Tensor } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { AdapterConfigError } from './errors.js';
import type { AdapterPlan } from './peft-adapter.js';
import type { AdapterTensors, MethodContext, PeftMethod } from './peft-method.js';
import { namesOfCopies } from './whole-modules.js';

/** Numbers of a tensor as files have them. */
export interface StoredNumbers {
  readonly dtype: DType & ('float32' | 'int32');
  readonly data: Float32Array | Int32Array;
}

/** Indices stay whole numbers; everything else is float32, whatever it was computed in. */
export async function storedNumbers(value: Tensor): Promise<StoredNumbers> {
  const data = await value.data();
  return value.dtype === 'int32'
    ? { dtype: 'int32', data: Int32Array.from(data) }
    : { dtype: 'float32', data: Float32Array.from(data) };
}

/** Everything that an adapter's file has, by the names that `fileKey` completes. Lazy where the tensors are. */
export function toFileTensors<Config extends object>(
  method: PeftMethod<Config>,
  context: MethodContext<Config>,
  { trained, frozen }: AdapterTensors,
): Named {
  const { plan, config } = context;
  const { own, whole } = apart(plan, trained);
  const ofMethod = method.toFile?.(context, { trained: own, frozen });
  const ofTied = plan.tied?.fileTensors(trained);
  return {
    ...(ofMethod ?? { ...own, ...(method.frozenInFile?.(config) && frozen) }),
    ...{ ...whole, ...ofTied, ...plan.carried },
  };
}

/** The adapter's tensors from those that a file has. What it lacks is frozen, and as `made` has it. */
export async function fromFileTensors<Config extends object>(
  method: PeftMethod<Config>,
  context: MethodContext<Config>,
  stored: Named,
  made: AdapterTensors,
): Promise<AdapterTensors> {
  const { own, whole } = apart(context.plan, stored);
  const ofMethod = apart(context.plan, made.trained).own;
  const asStored = (tensors: Named): Named =>
    Object.fromEntries(Object.entries(tensors).map(([name, value]) => [name, own[name] ?? value]));
  const { trained, frozen } = (await method.fromFile?.(context, own, { ...made, trained: ofMethod })) ?? {
    trained: asStored(ofMethod),
    frozen: asStored(made.frozen),
  };
  const all = { ...trained, ...whole };
  for (const [name, value] of Object.entries(context.plan.tied?.fileTensors(all) ?? {})) {
    const [own, other] = [await value.data(), await stored[name]!.data()];
    if (own.every((x, i) => x === other[i])) continue;
    throw new AdapterConfigError(
      `${name} is other than what it is tied to (ensure_weight_tying), ${context.plan.tied!.embedding.name}`,
    );
  }
  return { trained: all, frozen };
}

/** The method's own tensors, and the biases and modules that are trained as copies. */
function apart(plan: AdapterPlan, tensors: Named): { readonly own: Named; readonly whole: Named } {
  const copies = new Set(namesOfCopies(plan));
  const [own, whole]: [Record<string, Tensor>, Record<string, Tensor>] = [{}, {}];
  for (const [name, value] of Object.entries(tensors)) (copies.has(name) ? whole : own)[name] = value;
  return { own, whole };
}
