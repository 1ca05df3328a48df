import { specOf } from '../../graph/node.js';
import { onHost } from './host.js';
import type { PlainRule, Rules } from './rule.js';
import type { KernelScope } from './scope.js';
import { storageTypeOf, type TfjsKernelTensor } from './tfjs.js';

const unary =
  (kernel: string): PlainRule =>
  (scope, _, [x]) =>
    scope.run(kernel, { x: x! });

const binary =
  (kernel: string): PlainRule =>
  (scope, _, [a, b]) =>
    scope.run(kernel, { a: a!, b: b! });

/** The larger or smaller of two; NaN where either is NaN. */
const extreme =
  (kernel: 'Maximum' | 'Minimum'): PlainRule =>
  (scope, { outputs: [spec] }, [a, b]) => {
    const chosen = scope.run(kernel, { a: a!, b: b! });
    if (!scope.hasGap('maximum of NaN') || chosen.dtype !== 'float32') return chosen;
    const either = scope.run('LogicalOr', {
      a: scope.broadcast(scope.run('IsNan', { x: a! }), spec!.shape),
      b: scope.broadcast(scope.run('IsNan', { x: b! }), spec!.shape),
    });
    const nan = scope.broadcast(scope.scalar(Number.NaN, 'float32'), spec!.shape);
    return select(scope, either, nan, chosen);
  };

/** `a` where the condition holds, else `b`; all three of one shape. */
function select(
  scope: KernelScope,
  condition: TfjsKernelTensor,
  a: TfjsKernelTensor,
  b: TfjsKernelTensor,
): TfjsKernelTensor {
  if (a.dtype !== 'bool' || !scope.hasGap('bool elements')) return scope.run('Select', { condition, t: a, e: b });
  const [t, e] = [scope.cast(a, 'int32'), scope.cast(b, 'int32')];
  return scope.cast(scope.run('Select', { condition, t, e }), 'bool');
}

/** The primitives that work element by element. */
export const elementwiseRules: Rules = {
  neg: unary('Neg'),
  exp: unary('Exp'),
  log: unary('Log'),
  sqrt: unary('Sqrt'),
  reciprocal: unary('Reciprocal'),
  sin: unary('Sin'),
  cos: unary('Cos'),
  tanh: unary('Tanh'),
  erf: unary('Erf'),
  sigmoid: unary('Sigmoid'),
  abs: unary('Abs'),
  sign: unary('Sign'),
  floor: unary('Floor'),
  not: unary('LogicalNot'),
  isNaN: unary('IsNan'),
  cast: (scope, { attributes: { dtype } }, [x]) => scope.cast(x!, storageTypeOf(dtype)),

  add: binary('Add'),
  sub: binary('Sub'),
  mul: (scope, node, inputs) => {
    const isLossy = scope.hasGap('int32 product') && node.outputs[0]!.dtype === 'int32';
    return isLossy ? onHost(scope, node, inputs) : scope.run('Multiply', { a: inputs[0]!, b: inputs[1]! });
  },
  div: binary('RealDiv'),
  pow: (scope, node, inputs) =>
    scope.hasGap('pow of ones') ? onHost(scope, node, inputs) : scope.run('Pow', { a: inputs[0]!, b: inputs[1]! }),
  maximum: extreme('Maximum'),
  minimum: extreme('Minimum'),
  mod: binary('Mod'),
  equal: (scope, node, [a, b]) => {
    const isBool = specOf(node.inputs[0]!).dtype === 'bool' && scope.hasGap('bool elements');
    const type = isBool ? 'int32' : (a!.dtype as 'float32');
    return scope.run('Equal', { a: scope.cast(a!, type), b: scope.cast(b!, type) });
  },
  less: binary('Less'),
  lessEqual: binary('LessEqual'),
  and: binary('LogicalAnd'),
  or: binary('LogicalOr'),
  where: (scope, { outputs: [spec] }, inputs) => {
    const [condition, a, b] = inputs.map((x) => scope.broadcast(x, spec!.shape));
    return select(scope, condition!, a!, b!);
  },
};
