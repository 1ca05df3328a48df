import type { ChatMessage, Prompt } from '@posttrain/interfaces';

/** A message of a row. */
export interface RowMessage extends ChatMessage {
  /** Of an assistant message: 0 when it is context only, and not trained. Default 1. */
  readonly weight?: 0 | 1;
}

/** Texts are strings ("standard" rows) or lists of messages ("conversational" rows), the same kind in one row. */

/** `language-modeling`: a text, or a conversation, to be learned as it is. */
export type LanguageModelingRow = { readonly text: string } | { readonly messages: readonly RowMessage[] };

/** `prompt-only`: for methods that generate the completions themselves. */
export type PromptOnlyRow = { readonly prompt: Prompt };

/** `prompt-completion`: loss on the completion. */
export type PromptCompletionRow = { readonly prompt: Prompt; readonly completion: Prompt };

/** `preference`: with an explicit prompt. */
export type PreferenceRow = { readonly prompt: Prompt; readonly chosen: Prompt; readonly rejected: Prompt };

/** `implicit-preference`: the prompt is the common start of both; `extractPrompt` makes it explicit. */
export type ImplicitPreferenceRow = { readonly chosen: Prompt; readonly rejected: Prompt };

/** `unpaired-preference`: one completion with a verdict. */
export type UnpairedPreferenceRow = { readonly prompt: Prompt; readonly completion: Prompt; readonly label: boolean };

/** `stepwise-supervision`: one verdict per step; always standard. */
export type StepwiseSupervisionRow = {
  readonly prompt: string;
  readonly completions: readonly string[];
  readonly labels: readonly boolean[];
};

/** TRL's dataset formats by their names in TRL's documentation, with the row type of each. */
export interface RowFormats {
  readonly 'language-modeling': LanguageModelingRow;
  readonly 'prompt-only': PromptOnlyRow;
  readonly 'prompt-completion': PromptCompletionRow;
  readonly preference: PreferenceRow;
  readonly 'implicit-preference': ImplicitPreferenceRow;
  readonly 'unpaired-preference': UnpairedPreferenceRow;
  readonly 'stepwise-supervision': StepwiseSupervisionRow;
}

/** A format of training rows. */
export type RowFormat = keyof RowFormats;

/** The columns that decide a row's format. A row may have any others besides. */
export const FORMAT_COLUMNS = [
  'text',
  'messages',
  'prompt',
  'completion',
  'chosen',
  'rejected',
  'label',
  'completions',
  'labels',
] as const;
