/** The ONNX op of each elementwise primitive with one operand. */
export const UNARY = {
  neg: 'Neg',
  exp: 'Exp',
  log: 'Log',
  sqrt: 'Sqrt',
  reciprocal: 'Reciprocal',
  sin: 'Sin',
  cos: 'Cos',
  tanh: 'Tanh',
  erf: 'Erf',
  sigmoid: 'Sigmoid',
  abs: 'Abs',
  sign: 'Sign',
  floor: 'Floor',
  not: 'Not',
  isNaN: 'IsNaN',
} as const;

/** And with two. */
export const BINARY = {
  add: 'Add',
  sub: 'Sub',
  mul: 'Mul',
  div: 'Div',
  pow: 'Pow',
  maximum: 'Max',
  minimum: 'Min',
  mod: 'Mod',
  equal: 'Equal',
  less: 'Less',
  lessEqual: 'LessOrEqual',
  and: 'And',
  or: 'Or',
} as const;

/** The ONNX ops whose element i depends on element i of each full-size operand only. */
export const ELEMENTWISE_ONNX_OPS: ReadonlySet<string> = new Set([
  ...Object.values(UNARY),
  ...Object.values(BINARY),
  'Where',
]);
