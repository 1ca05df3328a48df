import { ones } from '../create.js';
import { AutodiffError } from '../errors.js';
import { makeNode, type Value } from '../graph/node.js';
import { apply, Tensor } from '../tensor.js';
import { leavesOf, withLeaves } from '../tree.js';
import { backward, variable } from './backward.js';

/** Options of `grad` and its kin. */
export interface GradOptions {
  /** Position of the argument to differentiate; its tensors are the variables. Default 0. */
  readonly argument?: number;
}

/**
 * `valueAndGrad(f)(...args)` gives f's scalar value and its gradient with respect to one argument (a tensor or a tree
 * of tensors, whose shape the gradient has). With `hasAux: true`, f returns `[loss, aux]`.
 *
 * Throws `AutodiffError` when the value is not a scalar float.
 */
export function valueAndGrad<Args extends readonly unknown[], Out extends Tensor | readonly [Tensor, unknown]>(
  f: (...args: Args) => Out,
  { argument = 0 }: GradOptions = {},
): (...args: Args) => { value: Out; gradient: Args[number] } {
  return (...args) => {
    const [variables, isolated] = isolate(args, argument);
    const value = f(...isolated);
    const loss = value instanceof Tensor ? value : (value as readonly [Tensor, unknown])[0];
    if (loss.size !== 1) throw new AutodiffError(`the gradient of ${loss} is not defined: reduce it to a scalar first`);
    const gradients = backward([loss], [ones(loss.shape, loss.dtype)], variables);
    return { value, gradient: withLeaves(args[argument] as Args[number], gradients) };
  };
}

/** `grad(f)(...args)`: the gradient of the scalar function f with respect to one argument. See `valueAndGrad`. */
export function grad<Args extends readonly unknown[]>(
  f: (...args: Args) => Tensor,
  options: GradOptions = {},
): (...args: Args) => Args[number] {
  const both = valueAndGrad(f, options);
  return (...args) => both(...args).gradient;
}

/** The output of f and a function that maps cotangents of that output to cotangents of all tensors in `args`. */
export function vjp<Args extends readonly unknown[], Out>(
  f: (...args: Args) => Out,
  ...args: Args
): { output: Out; pullback: (cotangent: Out) => Args } {
  // Handles of its own: the caller's become leaves when they are read, and the graph behind them is needed later.
  const handle = (tensor: Tensor) => new Tensor(tensor.value);
  const variables = leavesOf(args).map(({ tensor }) => variable(tensor));
  const output = f(...withLeaves(args, variables.map(handle)));
  const outputs = leavesOf(output).map(({ tensor }) => handle(tensor));
  return {
    output,
    pullback: (cotangent) =>
      withLeaves(
        args,
        backward(
          outputs,
          leavesOf(cotangent).map(({ tensor }) => tensor),
          variables,
        ),
      ),
  };
}

/** Gives x forward and nothing backward. */
export const stopGradient = (x: Tensor): Tensor => apply('stopGradient', [x], {});

/**
 * f with a backward function of your own: `backwardFunction({ inputs, outputs, cotangents })` gives one cotangent per
 * input (undefined: none). A cotangent is undefined for an output that nothing depends on.
 */
export function customVjp(
  f: (...inputs: Tensor[]) => readonly Tensor[],
  backwardFunction: (context: {
    inputs: Tensor[];
    outputs: Tensor[];
    cotangents: (Tensor | undefined)[];
  }) => readonly (Tensor | undefined)[],
): (...inputs: Tensor[]) => Tensor[] {
  const wrap = (values: readonly Value[]) => values.map((value) => new Tensor(value));
  return (...inputs) => {
    const outputs = f(...inputs);
    const node = makeNode(
      'customVjp',
      [...outputs, ...inputs].map((x) => x.value),
      {
        outputs: outputs.length,
        backward: ({ inputs: ins, outputs: outs, cotangents }) =>
          backwardFunction({
            inputs: wrap(ins),
            outputs: wrap(outs),
            cotangents: cotangents.map((value) => (value ? new Tensor(value) : undefined)),
          }).map((cotangent) => cotangent?.value),
      },
    );
    return node.outputs.map((_, index) => new Tensor({ node, index }));
  };
}

function isolate<Args extends readonly unknown[]>(args: Args, argument: number): [Tensor[], Args] {
  if (argument < 0 || argument >= args.length) {
    throw new AutodiffError(`argument ${argument} does not exist: the function was called with ${args.length}`);
  }
  const variables = leavesOf(args[argument]).map(({ tensor }) => variable(tensor));
  if (variables.length === 0) throw new AutodiffError(`argument ${argument} holds no tensor to differentiate`);
  const isolated = args.map((arg, i) => (i === argument ? withLeaves(arg, variables) : arg));
  return [variables, isolated as unknown as Args];
}
