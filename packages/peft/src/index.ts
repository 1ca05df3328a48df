export type { RowBatch, TrainingRow } from './training/rows.js';
export { TrainingRowError } from './training/rows.js';
export type { TokenLoss, TokenLossInputs } from './training/token-loss.js';
export { negativeLogLikelihood, weightedSum } from './training/token-loss.js';
export type { ForwardBackwardResult, TrainerOptions } from './training/trainer.js';
export { NonFiniteError, Trainer } from './training/trainer.js';
