import { type Compiled, compile, type Engine, perEngine, Tensor, valueAndGrad } from '@posttrain/core-tensor';
import { mapNamed, type Named } from '@posttrain/core-tensor/optim';
import { PosttrainError, showValue } from '@posttrain/interfaces';

/**
 * A weight regulariser: what a step adds to the loss that depends on the trained tensors and on no row, a distance to
 * earlier weights or a norm. It counts once a step, however the rows are split.
 */
export interface Penalty {
  /** Of several with one name the second is `name.2`, in metrics and where a resumed run is compared. */
  readonly name: string;
  /** Tensors that it reads beside the parameters: inputs of the graph, so that others are no other graph. */
  readonly tensors?: Named;
  /** A scalar, traced once. */
  compute(parameters: Named, tensors: Named): Tensor;
}

type AddPenalty = Compiled<
  [gradients: Named, parameters: Named, tensors: Named, lossScale: Tensor],
  { readonly gradients: Named; readonly value: Tensor }
>;

const compiledOn = perEngine(() => new WeakMap<Penalty['compute'], AddPenalty>());

/** What each is called among all: its name, and of several with one name the second `name.2`. */
export function penaltyNames(penalties: readonly Penalty[]): string[] {
  const counts = new Map<string, number>();
  return penalties.map(({ name }) => {
    const count = (counts.get(name) ?? 0) + 1;
    counts.set(name, count);
    return count === 1 ? name : `${name}.${count}`;
  });
}

/**
 * Gradients with those of a penalty, times `lossScale`, added to them, and its value. Compilation is memoised by its
 * function.
 */
async function addPenalty(
  { name, compute, tensors = {} }: Penalty,
  gradients: Named,
  parameters: Named,
  lossScale: Tensor,
  engine: Engine,
): Promise<{ readonly gradients: Named; readonly value: number }> {
  const compiled = compiledOn(engine);
  const add: AddPenalty =
    compiled.get(compute) ??
    compile(
      (sums, variables, given, scale) => {
        const { value, gradient } = valueAndGrad((x: Named) => {
          const penalty: unknown = compute(x, given);
          if (penalty instanceof Tensor) return penalty;
          throw new PosttrainError(
            'PENALTY',
            `penalty ${name}: compute gave ${showValue(penalty)}; give a scalar tensor.`,
          );
        })(variables);
        return { gradients: mapNamed(sums, (g, key) => g.add((gradient as Named)[key]!.mul(scale))), value };
      },
      { name: `penalty(${name})`, engine },
    );
  compiled.set(compute, add);
  const added = await add(gradients, parameters, tensors, lossScale);
  return { gradients: added.gradients, value: await added.value.item() };
}

/** Gradients with those of all penalties, and their values by name. */
export async function penalized(
  given: Named,
  penalties: readonly Penalty[],
  parameters: Named,
  lossScale: Tensor,
  engine: Engine,
): Promise<{ readonly gradients: Named; readonly values: Readonly<Record<string, number>> }> {
  let gradients = given;
  const values: Record<string, number> = {};
  const names = penaltyNames(penalties);
  for (const [i, penalty] of penalties.entries()) {
    const added = await addPenalty(penalty, gradients, parameters, lossScale, engine);
    gradients = added.gradients;
    values[names[i]!] = added.value;
  }
  return { gradients, values };
}
