export {
  type ConjugateGradientOptions,
  type ConjugateGradientResult,
  conjugateGradient,
  type LinearOperator,
} from './conjugate-gradient.js';
export * from './fisher-vector-product.js';
export * from './natural-gradient.js';
