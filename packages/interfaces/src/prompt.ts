/** One message of a conversation, as in the OpenAI chat format and in Hugging Face chat templates. */
export interface ChatMessage {
  readonly role: 'system' | 'user' | 'assistant' | 'tool' | 'developer' | (string & {});
  readonly content: string;
  readonly name?: string;
  readonly tool_calls?: readonly unknown[];
  readonly tool_call_id?: string;
}

/** A prompt is plain text, or a conversation that the generator renders with its own chat template. */
export type Prompt = string | readonly ChatMessage[];
