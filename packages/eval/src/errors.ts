import { PosttrainError } from '@posttrain/interfaces';

/** Thrown by this package for bad tasks, logs that do not fit, and models that answer out of shape. */
export class EvaluationError extends PosttrainError {}
