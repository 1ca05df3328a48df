// The parts of Inspect's log, version 2 (`EvalLog` of inspect_ai), that are written and read here. What it may have beside is ignored.

/** Inspect's name of how a completion ended, and ours. */
export const STOP_REASONS = {
  stop: 'stop',
  tool_calls: 'stop',
  content_filter: 'stop',
  unknown: 'stop',
  max_tokens: 'length',
  model_length: 'length',
} as const;

/** Names of sampling parameters here and in Inspect's `GenerateConfig`. */
export const SAMPLING_NAMES = {
  maxTokens: 'max_tokens',
  temperature: 'temperature',
  topP: 'top_p',
  topK: 'top_k',
  presencePenalty: 'presence_penalty',
  frequencyPenalty: 'frequency_penalty',
  stop: 'stop_seqs',
} as const;

/** Metadata under which this project keeps what Inspect's log has no place for. */
export const METADATA_KEY = 'posttrain';

export interface InspectMessage {
  readonly role: string;
  readonly content: string | readonly { readonly type: string; readonly text?: string }[];
}

export interface InspectScore {
  readonly value: unknown;
  readonly answer?: string | null;
  readonly explanation?: string | null;
}

export interface InspectUsage {
  readonly input_tokens: number;
  readonly output_tokens: number;
  readonly total_tokens?: number;
}

export interface InspectSample {
  readonly id: string | number;
  readonly epoch: number;
  readonly input: string | readonly InspectMessage[];
  readonly target?: string | readonly string[];
  readonly output?: {
    readonly model?: string;
    readonly choices?: readonly { readonly message: InspectMessage; readonly stop_reason?: string }[];
    readonly completion?: string;
    readonly usage?: InspectUsage | null;
  };
  readonly scores?: Readonly<Record<string, InspectScore>> | null;
  readonly metadata?: Readonly<Record<string, unknown>>;
  readonly attachments?: Readonly<Record<string, string>>;
  readonly total_time?: number | null;
  readonly error?: unknown;
}

export interface InspectLog {
  readonly version: number;
  readonly status: string;
  readonly eval: {
    readonly task: string;
    readonly model: string;
    readonly created?: string;
    readonly dataset?: { readonly sample_ids?: readonly (string | number)[] | null };
    readonly config?: { readonly epochs?: number | null };
    readonly metadata?: Readonly<Record<string, unknown>> | null;
  };
  readonly plan?: { readonly config?: Readonly<Record<string, unknown>> };
  readonly stats?: { readonly started_at?: string; readonly completed_at?: string };
  readonly samples?: readonly InspectSample[] | null;
}
