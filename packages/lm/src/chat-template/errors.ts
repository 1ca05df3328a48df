import { PosttrainError } from '@posttrain/interfaces';

/** A chat template cannot be parsed, failed while rendering, or refused the conversation (`raise_exception`). */
export class ChatTemplateError extends PosttrainError {
  constructor(problem: string, options?: ErrorOptions) {
    super('CHAT_TEMPLATE', `Chat template: ${problem}`, options);
  }
}

/** No mask of the assistant's tokens can be made that is certain to be right. */
export class AssistantMaskError extends PosttrainError {
  constructor(problem: string) {
    super('ASSISTANT_MASK', `Assistant mask: ${problem}`);
  }
}

/** Which message a token belongs to cannot be known for certain. */
export class ChatProvenanceError extends PosttrainError {
  constructor(problem: string) {
    super('CHAT_PROVENANCE', `Provenance of a conversation: ${problem}`);
  }
}
