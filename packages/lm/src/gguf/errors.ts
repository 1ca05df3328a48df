import { PosttrainError } from '@posttrain/interfaces';

/** A GGUF file is damaged, cut short, or says what cannot be. */
export class InvalidGgufError extends PosttrainError {
  constructor(path: string, problem: string, options?: ErrorOptions) {
    super('INVALID_GGUF', `${path}: ${problem}`, options);
  }
}

/** A GGUF file is in order but holds what this package has no model, tokenizer or number format for. */
export class UnsupportedGgufError extends PosttrainError {
  constructor(path: string, problem: string) {
    super('UNSUPPORTED_GGUF', `${path}: ${problem}`);
  }
}
